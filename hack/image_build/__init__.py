"""Builds the images of Laneway, by buildah or Docker, from wheels alone."""
