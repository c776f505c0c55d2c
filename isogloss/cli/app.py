"""All nouns together, and the one place where errors become text and exit codes."""

from __future__ import annotations

import errno
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from isogloss.cli import demo, evaluate, experiment, merge, out, publish, registry, train
from isogloss.errors import IsoglossError


class _Group(TyperGroup):
    """The top of the command tree: what goes wrong below it is said in one line."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except IsoglossError as error:
            out.fail(str(error))
            raise typer.Exit(error.exit_code) from error
        except KeyboardInterrupt as error:
            out.fail("interrupted; nothing half-done was kept, what was recorded stays")
            raise typer.Exit(130) from error
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
                out.fail(f"the disk is full: {error}; nothing half-written was kept")
                raise typer.Exit(1) from error
            if isinstance(error, PermissionError):
                out.fail(f"not permitted: {error}")
                raise typer.Exit(1) from error
            if error.errno == errno.EPIPE:
                raise  # whoever read our output has gone; typer ends quietly
            out.fail(f"the system refused: {error}")
            raise typer.Exit(1) from error


app = typer.Typer(
    cls=_Group,
    name="isogloss",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    help="""Dialect adapters: trained, merged, measured, published, and never lost.

\b
Begin with:
  isogloss demo                        the whole story on a small built-in corpus
  isogloss registry init               a registry in ./.isogloss
  isogloss experiment run FILE.yaml    from corpora to a chosen merge
""",
)


def _version(value: bool) -> None:
    if value:
        from isogloss import __version__

        out.line(f"isogloss {__version__}")
        raise typer.Exit


@app.callback()
def _top(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


app.command("demo")(demo.demo)
app.add_typer(registry.app, name="registry")
app.add_typer(train.app, name="train")
app.add_typer(merge.app, name="merge")
app.add_typer(evaluate.app, name="eval")
app.add_typer(experiment.app, name="experiment")
app.add_typer(publish.app, name="publish")
