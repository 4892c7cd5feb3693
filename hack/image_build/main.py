"""The command line of hack/images."""

import fcntl
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import click

from image_build import wheels
from image_build.builders import choose
from image_build.errors import BuildFailed

BASE = "python:3.12-slim"
TARGETS = ("runtime", "operator")


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def images() -> None:
    """Build the images of Laneway, from wheels alone."""


_base = click.option("--base", default=BASE, show_default=True, help="The image that both are built on.")
_builder = click.option(
    "--builder",
    type=click.Choice(["auto", "buildah", "docker"]),
    default="auto",
    show_default=True,
    help="auto: Docker if its daemon answers, else buildah.",
)


@images.command("wheels")
@_base
@_builder
@click.pass_obj
def wheels_command(root: Path, base: str, builder: str) -> None:
    """Fill dist/wheels for the Python of the base image."""
    with _alone(root):
        _wheels(root, base, builder)


@images.command()
@_base
@_builder
@click.option("--target", "targets", type=click.Choice(TARGETS), multiple=True, help="Only this one.  [default: both]")
@click.option(
    "--name",
    default="localhost/laneway-{target}:{version}",
    show_default=True,
    help="What the images are called; {target} and {version} are filled in.",
)
@click.pass_obj
def build(root: Path, base: str, builder: str, targets: tuple[str, ...], name: str) -> None:
    """Make the wheels, then the images; prints the name of each image, and tells its size."""
    _named(name, "runtime", "0")
    with _alone(root):
        _build(root, base, builder, targets or TARGETS, name)


def _build(root: Path, base: str, builder: str, targets: Sequence[str], name: str) -> None:
    version = _wheels(root, base, builder)
    arguments = {"VERSION": version, "REVISION": wheels.revision(root)}
    program = choose(builder)
    for target in targets:
        tag = _named(name, target, version)
        start = time.monotonic()
        program.build(root, base=base, target=target, tag=tag, arguments=arguments)
        size = program.size(tag, root) / 1e6
        click.echo(f"{tag}: {size:.0f} MB, built in {time.monotonic() - start:.0f} s", err=True)
        click.echo(tag)


def _named(name: str, target: str, version: str) -> str:
    try:
        return name.format(target=target, version=version)
    except (KeyError, IndexError, ValueError) as error:
        raise click.BadParameter("only {target} and {version} can be filled in", param_hint="'--name'") from error


@contextmanager
def _alone(root: Path) -> Iterator[None]:
    """One at a time: all builds of a tree share its dist/wheels."""
    (root / "dist").mkdir(exist_ok=True)
    with (root / "dist" / ".images.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            click.echo("another build is under way here: waiting for it", err=True)
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _wheels(root: Path, base: str, builder: str) -> str:
    interpreter = choose(builder).interpreter(base, root)
    version = wheels.version_of(wheels.make(root, interpreter))
    count = len(list((root / wheels.FOLDER).glob("*.whl")))
    python = ".".join(map(str, interpreter.version))
    click.echo(f"{wheels.FOLDER}: {count} wheels of Laneway {version} for Python {python} in {base}", err=True)
    return version


def main(argv: Sequence[str], root: Path) -> int:
    """Run the command line; the exit code."""
    try:
        images.main(list(argv), prog_name="hack/images", standalone_mode=False, obj=root)
    except click.ClickException as error:
        error.show()
        return 2
    except BuildFailed as error:
        print(f"images: {error}", file=sys.stderr)
        return 1
    return 0
