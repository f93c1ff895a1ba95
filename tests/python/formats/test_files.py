"""Files are written whole or not at all."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from small_profiles import MAIN, names_in, one

import spprof
from spprof import formats
from spprof.formats import files


class TestSaving:
    def test_new_files_have_usual_permissions(self, tmp_path) -> None:
        previous = os.umask(0o027)
        try:
            one(MAIN).save(tmp_path / "p.json")
        finally:
            os.umask(previous)
        assert stat.S_IMODE((tmp_path / "p.json").stat().st_mode) == 0o640

    def test_replaced_files_keep_theirs(self, tmp_path) -> None:
        path = tmp_path / "p.json"
        path.write_text("old")
        path.chmod(0o604)
        one(MAIN).save(path)
        assert stat.S_IMODE(path.stat().st_mode) == 0o604
        assert spprof.load(path).sample_count == 1

    def test_goes_through_symbolic_links(self, tmp_path) -> None:
        (tmp_path / "real.json").write_text("old")
        (tmp_path / "link.json").symlink_to("real.json")
        one(MAIN).save(tmp_path / "link.json")
        assert (tmp_path / "link.json").is_symlink()
        assert spprof.load(tmp_path / "real.json").sample_count == 1

    @pytest.mark.skipif(
        not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root gives a link away"
    )
    def test_does_not_follow_a_link_of_somebody_else_in_a_directory_for_all(self, tmp_path) -> None:
        victim, shared = tmp_path / "victim.json", tmp_path / "shared"
        victim.write_text("what was there")
        shared.mkdir()
        shared.chmod(0o1777)
        (shared / "mine.json").symlink_to(victim)
        (shared / "theirs.json").symlink_to(victim)
        os.lchown(shared / "theirs.json", 65534, 65534)
        (tmp_path / "by_way_of.json").symlink_to(shared / "theirs.json")
        for link in (shared / "theirs.json", tmp_path / "by_way_of.json"):
            with pytest.raises(PermissionError, match="somebody else has put"):
                one(MAIN).save(link)
            with pytest.raises(PermissionError, match="somebody else has put"):
                formats.check_writable(link)
        assert victim.read_text() == "what was there"
        one(MAIN).save(shared / "mine.json")
        assert spprof.load(victim).sample_count == 1

    def test_writes_to_what_cannot_be_replaced(self) -> None:
        one(MAIN).save("/dev/null")
        assert Path("/dev/null").is_char_device()

    @pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError, RuntimeError])
    def test_an_error_half_way_leaves_the_old_file(self, error, tmp_path) -> None:
        path = tmp_path / "p.json"
        path.write_text("old")

        def fail_half_way() -> None:
            with files.replacing(path) as file:
                file.write(b"half")
                raise error

        with pytest.raises(error):
            fail_half_way()
        assert path.read_text() == "old"
        assert names_in(tmp_path) == ["p.json"]

    def test_a_full_disk_leaves_the_old_file(self, tmp_path, make_profile) -> None:
        resource = pytest.importorskip("resource")
        path = tmp_path / "p.spprof"
        path.write_text("old")
        profile = make_profile()
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        previous = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
        try:
            with pytest.raises(OSError, match="too large") as caught:
                profile.save(path)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
            signal.signal(signal.SIGXFSZ, previous)
        assert caught.value.filename == str(path)
        assert path.read_text() == "old"
        assert names_in(tmp_path) == ["p.spprof"]

    @pytest.mark.parametrize("do", [formats.check_writable, lambda p: one(MAIN).save(p)])
    def test_paths_that_cannot_be_written(self, do, tmp_path) -> None:
        (tmp_path / "file").write_text("")
        with pytest.raises(IsADirectoryError, match="it is a directory; name a file in it"):
            do(tmp_path)
        with pytest.raises(FileNotFoundError, match=r"there is no directory .*; create it first"):
            do(tmp_path / "missing" / "p.json")
        with pytest.raises(NotADirectoryError, match="is not a directory"):
            do(tmp_path / "file" / "p.json")
        assert names_in(tmp_path) == ["file"]

    @pytest.mark.parametrize(
        ("mode", "message"), [(0o755, "no permission to create files in"), (0o700, "to reach")]
    )
    def test_directories_of_others(self, mode, message) -> None:
        # Root may write anywhere, so that a child gives up its rights first.
        code = (
            "import os, sys\n"
            "from spprof import formats\n"
            "if os.getuid() == 0: os.setuid(65534)\n"
            "else: os.chmod(sys.argv[1], int(sys.argv[2]) & 0o555 if sys.argv[2] != '448' else 0)\n"
            "try: formats.check_writable(os.path.join(sys.argv[1], 'p.json'))\n"
            "except PermissionError as error: print(error)\n"
        )
        with tempfile.TemporaryDirectory() as folder:
            Path(folder).chmod(mode)
            done = subprocess.run(
                [sys.executable, "-c", code, folder, str(mode)], capture_output=True, text=True
            )
            Path(folder).chmod(0o755)
            assert done.stderr == ""
            assert f"{message} {folder}" in done.stdout
            assert "choose a path in a directory you own" in done.stdout
            assert names_in(Path(folder)) == []

    def test_check_writable_changes_nothing(self, tmp_path) -> None:
        path = tmp_path / "p.json"
        formats.check_writable(path)
        assert names_in(tmp_path) == []
        path.write_text("old")
        formats.check_writable(path)
        assert path.read_text() == "old"
