"""``--home`` for every command of a site, and which site it means. A folder that was mistyped must neither become a site nor speak for one."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fedliver.errors import FedLiverError

if TYPE_CHECKING:
    from fedliver.site.home import SiteHome

Home = Annotated[Path | None, typer.Option("--home", help="The site's folder. Default: $FEDLIVER_HOME or ~/.fedliver.", show_default=False)]


def new_or_existing_site(home: Path | None) -> "SiteHome":
    """For commands that a site begins with: it is made if it is not there."""
    from fedliver.site.home import SiteHome

    return SiteHome.open(home)


def existing_site(home: Path | None) -> "SiteHome":
    """For commands that need a site: FedLiverError ``no-site`` where there is none, and nothing is made."""
    from fedliver.site.home import SiteHome

    return SiteHome.existing(home)


def site_if_begun(home: Path | None) -> "SiteHome | None":
    """As :func:`existing_site`; None on a new computer, where nobody named a folder and nothing has begun at the default."""
    try:
        return existing_site(home)
    except FedLiverError as error:
        if home is None and error.code == "no-site":
            return None
        raise


def site_to_look_at(home: Path | None, code_if_none: int = 0) -> "SiteHome":
    """As :func:`existing_site`; on a new computer it is said that nothing is here yet, which is no error, and the command ends.

    Not for what vouches for a site (its ledger, that it has left): said of the wrong folder, it would reassure for nothing.
    """
    from fedliver.site.home import SiteHome

    site = site_if_begun(home)
    if site is None:
        place = SiteHome.locate(home).path
        typer.echo(f"Nothing is here yet: a site in {place} begins with `fedliver case add CT`, or with an invitation and `fedliver site enrol INVITATION`.")
        raise typer.Exit(code_if_none)
    return site
