"""`gemmbench network`: a forward pass, layer after layer, each product by the best known way.

Who computes what is chosen by `network_choice`, run and checked by `network_pass`; here the two
make a command.
"""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from gemmbench.errors import GemmbenchError
from gemmbench.machine import Machine
from gemmbench.measurement import Measurement
from gemmbench.network_choice import Choice, Results, choose
from gemmbench.network_data import needed_bytes
from gemmbench.network_graph import Network
from gemmbench.network_pass import Course, Failure, LayerResult, NetworkOptions, PassError
from gemmbench.problem import Problem
from gemmbench.run_outcome import Watcher
from gemmbench.software import Software
from gemmbench.suite import Suite
from gemmbench.trial import RaceProtocol, TrialState


@dataclass(frozen=True, slots=True)
class PassResult:
    """What became of a network. Without a `failure` it is right, and `passes` are its times."""

    suite: Suite
    network: Network
    layers: tuple[LayerResult, ...]
    passes: Measurement  # one sample a pass, read outside of the layers' stamps
    choice: Choice
    machine: Machine
    threads: int
    failure: Failure | None = None

    def exit_code(self) -> int:
        """5 something was wrong, 6 something broke, else 0; the races before count too."""
        codes = {self.choice.exit_code}
        if self.failure is not None:
            codes.add(5 if self.failure.state is TrialState.WRONG else 6)
        return 5 if 5 in codes else max(codes)


def run_network(
    suite: Suite,
    options: NetworkOptions,
    protocol: RaceProtocol,
    machine: Machine,
    results: Results,
    watcher: Watcher,
    command: str,
    software: Software | None = None,
) -> PassResult:
    """Choose, check and time. Raises GemmbenchError for a suite that is no network."""
    network = suite.network()
    check_memory(suite, network, options.run.memory_bytes)
    watcher.layer(suite.name, "", 0, 1)
    choice = choose(
        suite, network, options.run, protocol, machine, results, watcher, command, software
    )
    where = (choice, machine, protocol.threads)
    if len(choice.chosen) < len(set(_products(network))):
        return PassResult(suite, network, (), Measurement(), *where)
    with tempfile.TemporaryDirectory(prefix="gemmbench-") as folder:
        course = Course(network, choice.chosen, options, protocol, Path(folder), watcher)
        try:
            course.run()
        except PassError as error:
            return PassResult(suite, network, (), Measurement(), *where, error.failure)
    return PassResult(suite, network, course.layers(), Measurement(tuple(course.passes)), *where)


def check_memory(suite: Suite, network: Network, allowed: int) -> None:
    """Raise GemmbenchError if the buffers of a pass and its check exceed the memory allowed."""
    needed = needed_bytes(network)
    if allowed and needed > allowed:
        raise GemmbenchError(
            f"{suite.origin}: a pass needs {needed / 2**30:.2f} GiB for buffers, weights and "
            f"their check, {allowed / 2**30:.2f} GiB are allowed. Use a smaller --batch, or raise "
            "--memory."
        )


def _products(network: Network) -> Sequence[Problem]:
    return [n.operation for n in network.nodes if isinstance(n.operation, Problem)]
