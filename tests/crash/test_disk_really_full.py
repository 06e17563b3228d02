"""P10: a disk that is full in earnest: told so, nothing lost, and usable once there is room."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cli.errors import describe
from tests.e2e.harness import rows
from tests.sim.given import Given

pytestmark = [pytest.mark.promise("P10"), pytest.mark.slow]

PASSES, SIZE = 10, 8 << 20


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of a few megabytes."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "kel-test", str(place)]
    if os.geteuid() != 0 or subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("NO MOUNT: only who may mount a small file system can fill one")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def test_ten_times_full_and_free_again(
    small_disk: Path, tmp_path: Path, figure: Callable[..., None]
):
    place = small_disk / "ledger"
    world = Given.made(tmp_path / "made")
    world.ledger.close()
    shutil.copytree(world.folder, place)
    world = Given(world.base, place)
    ballast, seed, told = small_disk / "ballast", 0, 0
    for number in range(PASSES):
        free = os.statvfs(small_disk)
        room = free.f_bavail * free.f_frsize
        ballast.write_bytes(bytes(max(0, room - (number + 1) * 24 * 1024)))
        refused = 0
        while refused < 3:
            seed += 1
            before = rows(place)
            try:
                world.apply(seed, facts=8)
            except Exception as error:
                failure = describe(error)
                assert (failure.exit, "full" in failure.message) == (1, True), failure
                assert rows(place) == before
                refused += 1
        told += refused
        ballast.unlink()
        assert list(world.ledger.store.temps()) == []
        world.check()
        world.apply(seed + 1000)
        world.check()
    world.ledger.close()
    figure("P10", f"a disk of {SIZE >> 20} MB full {PASSES} times: {told} refusals, nothing lost")
