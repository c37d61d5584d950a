"""What every kind of `gemmbench compare` prints alike: its head, and the frame of its JSON."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gemmbench.cli.given import Asked
    from gemmbench.run_outcome import Outcome
    from gemmbench_results.store import Store


def suite_head(name: str, text: str) -> str:
    """The line over a table."""
    return f"{name}: {text}".removesuffix(": ")


def document(
    store: "Store", asked: "Asked", outcome: "Outcome | None", found: dict[str, Any]
) -> dict[str, Any]:
    """The JSON object: what was found, and the machine and protocol that it holds for."""
    from gemmbench.machine import machine_to_data
    from gemmbench_results.report.as_json import run_to_data
    from gemmbench_results.report.render import finite
    from gemmbench_results.rows import protocol_to_data

    whole = {
        "schema": 1,
        "run": None if outcome is None else run_to_data(store.run(outcome.run)),
        "machine": machine_to_data(asked.machine),
        "protocol": protocol_to_data(asked.protocol),
        **found,
    }
    told: dict[str, Any] = finite(whole)
    return told
