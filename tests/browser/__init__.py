"""A package, unlike the other folders of tests: so its fixtures of scope "package" end with its last test."""
