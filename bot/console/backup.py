"""`afina backup` and `afina restore`: one archive out of the data folder, and back into an empty one."""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

from bot.backup import Backup, back_up, restore
from bot.settings import Settings

_NAME = "afina-%Y%m%d-%H%M%S.tar"  # of an archive in a folder; sorts by age
_PATTERN = "afina-[0-9]*-[0-9]*.tar"


def run(arguments: argparse.Namespace, settings: Settings) -> int:
    if arguments.command == "restore":
        done = restore(settings, arguments.file)
    else:
        if arguments.keep is not None and arguments.keep < 1:
            print("--keep tiene que ser 1 o más.", file=sys.stderr)
            return 2
        done = back_up(settings, _target(arguments.out))
        if arguments.keep is not None:
            _keep_newest(done.archive.parent, arguments.keep)
        _drop_old(done.archive, settings.keep_backups_days)
    _tell(done, settings, restored=arguments.command == "restore", as_json=arguments.json)
    return 0


def _target(out: Path) -> Path:
    """The archive's own path; a folder gets one named after the time."""
    return out / time.strftime(_NAME) if out.is_dir() or out.suffix != ".tar" else out


def _keep_newest(folder: Path, count: int) -> None:
    for old in sorted(folder.glob(_PATTERN))[:-count]:
        old.unlink()


def _drop_old(newest: Path, days: int) -> None:
    """Archives beside the new one that are older than people were promised: what they erased must not stay there."""
    for old in newest.parent.glob(_PATTERN) if days else ():
        if old != newest and time.time() - old.stat().st_mtime > days * 86_400:
            old.unlink()


def _tell(done: Backup, settings: Settings, *, restored: bool, as_json: bool) -> None:
    manifest = done.manifest
    if as_json:
        facts = {"archive": str(done.archive), "files": len(manifest.files), "bytes": done.bytes}
        more = {"created_at": manifest.created_at, "version": manifest.version, "artifacts": manifest.artifacts}
        print(
            json.dumps(
                {**facts, **more, "missing": list(done.missing), "forgotten": done.forgotten}, ensure_ascii=False
            )
        )
        return
    size = f"{len(manifest.files)} archivos, {done.bytes / 1e6:.1f} MB".replace(".", ",")
    if restored:
        made = time.strftime("%d/%m/%Y %H:%M", time.localtime(manifest.created_at))
        print(f"Restaurado en {settings.data_dir}: {size}, tal como estaba el {made}. Ya puedes arrancar Afina.")
    else:
        print(f"{done.archive}: {size}, comprobados. Guárdala en otra máquina; el archivo .env va aparte.")
    if manifest.artifacts:
        print(f"Los datos y los modelos no van dentro: están en {manifest.artifacts}.")
    if done.forgotten:
        people = "1 persona que se borró" if done.forgotten == 1 else f"{done.forgotten} personas que se borraron"
        print(f"Sin {people} después de hacer la copia.")
    for path in done.missing:
        print(f"Falta {path}: la base de datos lo nombra, pero ya no estaba.", file=sys.stderr)
