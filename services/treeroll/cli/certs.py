"""`treeroll certs`: certificates for a service beyond loopback, where there is no PKI that makes them."""

from pathlib import Path
from typing import Annotated

import typer


def certs(
    out: Annotated[Path, typer.Option("--out", "-o", metavar="DIR", help="Where to.", show_default=False)],
    names: Annotated[
        list[str] | None,
        typer.Option(
            "--name", metavar="HOST", help="How clients call the service; may be repeated.", show_default=False
        ),
    ] = None,
    days: Annotated[int, typer.Option("--days", min=1, max=3650, help="How long the server's certificate holds.")] = 90,
) -> None:
    """Make a root certificate of your own and a server's certificate.

    DIR gets ca.pem, which clients know the service by, ca.key, which stays
    with you, and server.pem and server.key for the service. With a root in
    DIR only the server's are made anew; a running service takes them up.

    [bold]Example[/bold]

      treeroll certs --out certs --name rollouts.example.org
    """
    from treeroll.access.certificates import make_certificates
    from treeroll.cli.console import plain

    known = make_certificates(out, names or [], days)
    made = "a new certificate by the root that was there" if known else "a root and a certificate"
    typer.echo(f"made {made}: {plain(str(out))}/server.pem and server.key, for {days} days; clients need ca.pem")
