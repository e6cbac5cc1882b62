"""Artifacts: whole or not there, and never outside the root; in a folder and on an object store."""

import json
import os
import signal
import subprocess
import sys
import uuid

import pytest

from jobs.artifacts import Artifacts
from jobs.errors import DatasetError, ModelNotFound


@pytest.fixture(params=["folder", "memory"])
def artifacts(request, tmp_path):
    if request.param == "folder":
        return Artifacts(str(tmp_path / "root"))
    return Artifacts(f"memory://{uuid.uuid4().hex}", cache=tmp_path / "cache")


@pytest.fixture
def draft(tmp_path):
    folder = tmp_path / "draft"
    (folder / "extra").mkdir(parents=True)
    (folder / "adapter_model.safetensors").write_bytes(b"pesos" * 1000)
    (folder / "adapter_config.json").write_text('{"r": 8}')
    (folder / "extra" / "results.csv").write_text("step,loss\n")
    return folder


def test_a_dataset_comes_back_as_it_was(artifacts, tmp_path):
    (tmp_path / "f.jsonl").write_bytes(b'{"a": 1}\n')
    path = artifacts.put_dataset("abc123", 2, tmp_path / "f.jsonl")
    assert path == "datasets/abc123/v2.jsonl"
    assert artifacts.local(path).read_bytes() == b'{"a": 1}\n'
    assert artifacts.exists(path)
    artifacts.delete(path)
    artifacts.delete(path)
    assert not artifacts.exists(path)
    with pytest.raises(DatasetError):
        artifacts.local(path)


@pytest.mark.parametrize(
    "path",
    [
        "../secret",
        "/etc/passwd",
        "datasets/../../x",
        "",
        "a\\..\\b",
        "file:///etc/passwd",
        "s3://other/x",
        "a\0b",
        "..",
    ],
)
def test_no_path_leads_out_of_the_root(artifacts, path):
    with pytest.raises(DatasetError):
        artifacts.local(path)
    with pytest.raises(DatasetError):
        artifacts.delete(path)
    assert not artifacts.exists(path)


def test_not_even_through_a_link(tmp_path):
    (tmp_path / "secret").write_text("x")
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "link").symlink_to(tmp_path / "secret")
    with pytest.raises(DatasetError):
        Artifacts(str(tmp_path / "root")).local("link")


@pytest.mark.parametrize("name", ["../x", "A", "", "a/b", "a" * 200, ".hidden", "á"])
def test_odd_names_are_refused(artifacts, draft, name):
    for action in (artifacts.adapter, lambda name: artifacts.publish_adapter(name, draft)):
        with pytest.raises(ModelNotFound):
            action(name)
    with pytest.raises(DatasetError):
        artifacts.put_dataset("../x", 1, draft / "adapter_config.json")


def test_an_adapter_is_published_whole_and_verified(artifacts, draft):
    published = artifacts.publish_adapter("mio-1", draft, details={"trained_tokens": 9, "seconds": 1.5})
    folder = artifacts.adapter("mio-1")
    assert published.path == "adapters/mio-1"
    assert published.bytes == 5000 + 8 + 10
    assert (folder / "extra" / "results.csv").read_text() == "step,loss\n"
    assert artifacts.list_adapters() == ["mio-1"]
    result = artifacts.result("mio-1")
    assert (result.adapter_sha256, result.trained_tokens, result.seconds) == (published.sha256, 9, 1.5)
    assert result.files == ("adapter_config.json", "adapter_model.safetensors", "extra/results.csv")


def test_publishing_again_is_fine_but_never_replaces(artifacts, draft):
    first = artifacts.publish_adapter("mio", draft)
    assert artifacts.publish_adapter("mio", draft) == first
    (draft / "adapter_model.safetensors").write_bytes(b"otros")
    with pytest.raises(FileExistsError):
        artifacts.publish_adapter("mio", draft)
    assert (artifacts.adapter("mio") / "adapter_model.safetensors").read_bytes() == b"pesos" * 1000


def test_a_deleted_adapter_is_gone(artifacts, draft):
    path = artifacts.publish_adapter("mio", draft).path
    artifacts.adapter("mio")
    artifacts.delete(path)
    assert artifacts.list_adapters() == []
    assert artifacts.result("mio") is None
    with pytest.raises(ModelNotFound):
        artifacts.adapter("mio")


@pytest.mark.parametrize("missing", ["adapter_model.safetensors", "adapter_config.json"])
def test_half_a_draft_is_not_published(artifacts, draft, missing):
    (draft / missing).unlink()
    with pytest.raises(ValueError, match="missing"):
        artifacts.publish_adapter("mio", draft)
    assert artifacts.list_adapters() == []


@pytest.mark.parametrize("name", ["adapter_model.bin", "x.pkl", "extra/evil.py", "weights.pt"])
def test_files_that_could_run_code_are_not_published(artifacts, draft, name):
    (draft / name).write_bytes(b"x")
    with pytest.raises(ValueError, match="not safe"):
        artifacts.publish_adapter("mio", draft)


def test_links_are_not_published(artifacts, draft, tmp_path):
    (draft / "link").symlink_to("/etc/passwd")
    with pytest.raises(ValueError, match="link"):
        artifacts.publish_adapter("mio", draft)


class TestADamagedAdapter:
    @pytest.fixture
    def root(self, tmp_path, draft):
        artifacts = Artifacts(str(tmp_path / "root"))
        artifacts.publish_adapter("mio", draft)
        return tmp_path / "root" / "adapters" / "mio"

    @pytest.mark.parametrize(
        "damage",
        [
            lambda root: (root / "adapter_model.safetensors").write_bytes(b"x"),
            lambda root: (root / "adapter_config.json").unlink(),
            lambda root: (root / "manifest.json").unlink(),
            lambda root: (root / "manifest.json").write_text("[]"),
            lambda root: (root / "adapter_model.bin").write_bytes(b"pickle"),
            lambda root: (root / "link").symlink_to("/etc/passwd"),
            lambda root: (root / "manifest.json").write_text(
                json.dumps({"files": {"adapter_model.safetensors": {"sha256": "x"}, "../../x": {"sha256": "y"}}})
            ),
        ],
        ids=["changed", "incomplete", "no manifest", "odd manifest", "pickle", "link", "leads out"],
    )
    def test_is_never_handed_out(self, root, damage):
        damage(root)
        with pytest.raises((ModelNotFound, DatasetError)):
            Artifacts(str(root.parent.parent)).adapter("mio")


def test_a_publication_that_is_killed_anywhere_leaves_all_or_nothing(tmp_path, draft):
    """SIGKILL at the n-th file operation, for every n until one run gets through."""
    (draft / "adapter_model.safetensors").write_bytes(os.urandom(300_000))
    script = """
import os, signal, sys, pathlib
from jobs.artifacts import Artifacts
left = int(sys.argv[3])
def watch(event, arguments):
    global left
    if event in ("open", "os.mkdir", "os.rename", "shutil.rmtree"):
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
artifacts = Artifacts(sys.argv[1])
sys.addaudithook(watch)
artifacts.publish_adapter("mio", pathlib.Path(sys.argv[2]))
"""
    root = tmp_path / "root"
    outcomes = []
    for count in range(1, 60):
        done = subprocess.run([sys.executable, "-c", script, str(root), str(draft), str(count)], check=False)
        artifacts = Artifacts(str(root))
        whole = artifacts.list_adapters() == ["mio"]
        if whole:
            artifacts.adapter("mio")
        else:
            assert artifacts.result("mio") is None
        outcomes.append(whole)
        if done.returncode == 0:
            break
        assert done.returncode == -signal.SIGKILL
    assert outcomes[-1]
    assert not outcomes[0]
    assert artifacts.sweep(older_than=0.0) > 0
    assert [path.name for path in (root / "adapters").iterdir()] == ["mio"]
