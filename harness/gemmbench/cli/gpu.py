"""`gemmbench doctor --gpu`: every backend's own checks of its device, as a report to paste."""

import json

import click

PATIENCE = 1800.0  # seconds for one backend's checks


def print_gpu_reports(json_to: str | None, quiet: bool) -> int:
    """Print the report of each backend that drives a device, and write them as JSON; always 0."""
    from gemmbench.backend import installed_backends

    specs = sorted(installed_backends())
    found = [{"backend": spec, "report": report} for spec in specs for report in _report(spec)]
    for each in [] if quiet else found:
        click.echo(each["report"], err=json_to == "-")
    if json_to:
        with click.open_file(json_to, "w") as target:
            json.dump({"schema": 1, "reports": found}, target, indent=2)
            target.write("\n")
    return 0


def _report(spec: str) -> list[str]:
    """The report of `spec`, from a process of its own; none if it drives no device."""
    from gemmbench.backend import locate_backend
    from gemmbench.link import Link, RequestError, WorkerLostError, location_data
    from gemmbench.problem import Gemm

    location = locate_backend(spec)
    with Link(location, Gemm(64, 64, 64), threads=1, timeout=PATIENCE) as link:
        try:
            report = link.ask("diagnose", location=location_data(location))["report"]
        except (RequestError, WorkerLostError) as error:
            return [f"{spec}: {error}"]
    return [] if report is None else [str(report)]
