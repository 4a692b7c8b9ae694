"""What is kept is read as it was written, and under its own key alone."""

from __future__ import annotations

import shutil

from loratory import cache


def test_what_is_kept_is_read(monkeypatch, tmp_path):
    monkeypatch.setenv("LORATORY_CACHE", str(tmp_path / "some" / "where"))
    key, other = cache.key({"a": 1, "b": [2]}), cache.key({"a": 1, "b": [3]})
    assert key == cache.key({"b": [2], "a": 1}) != other
    assert cache.read("things", key) is None
    cache.keep("things", key, b"\x00\xff")
    assert cache.read("things", key) == b"\x00\xff"
    assert cache.read("things", other) is None and cache.read("others", key) is None


def test_the_hash_of_code_changes_with_any_file_of_it(monkeypatch, tmp_path):
    package = tmp_path / "package"
    shutil.copytree(cache.PACKAGE / "tuning", package / "tuning")
    shutil.copytree(cache.PACKAGE / "tasks", package / "tasks")
    monkeypatch.setattr(cache, "PACKAGE", package)

    def hashed(*parts):
        cache.code.cache_clear()
        return cache.code(*parts)

    try:
        both, one, whole = hashed("tuning", "tasks"), hashed("tuning"), hashed()
        assert len({both, one, whole}) == 3
        file = package / "tasks/source/load.py"
        file.write_text(file.read_text() + "\n")
        assert hashed("tuning") == one
        assert hashed("tuning", "tasks") != both and hashed() != whole
    finally:
        cache.code.cache_clear()
