"""The command line. Its modules import little but click at their top, so that ``laneway --help`` is quick."""
