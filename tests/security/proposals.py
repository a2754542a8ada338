"""A round on record without a ranking: for what is shown of one."""

from __future__ import annotations

import hashlib

import numpy as np
from PIL import Image as Pillow
from sqlalchemy import select

from labeler.record.tables import Image, ProposalRow, Round
from labeler.rounds import Workspace


def take_in(opened: Workspace, name: str, seed: int) -> Image:
    """Import a drawing under that file name, which the import may make a tamer one."""
    source = opened.paths.root.parent / f"source-{seed}"
    source.mkdir()
    pixels = np.random.default_rng(seed).integers(0, 256, (48, 48, 3), dtype=np.uint8)
    Pillow.fromarray(pixels).save(source / name, format="PNG")
    digest = hashlib.sha256((source / name).read_bytes()).hexdigest()
    assert opened.import_images(source, into="unlabelled").imported == 1
    with opened.store.read() as session:
        return session.scalars(select(Image).where(Image.sha256 == digest)).one()


def propose_one(opened: Workspace) -> Image:
    """One image, proposed with a suggestion."""
    image = take_in(opened, "proposed.png", 1)
    with opened.store.write() as session:
        row = Round(
            number=1,
            state="PROPOSED",
            k=1,
            strategy="uncertainty",
            seed=0,
            backbone="none",
            backbone_key="none",
            pool=1,
            pool_hash="0" * 64,
            package_version="0",
        )
        session.add(row)
        session.flush()
        said = {"probability": 0.6, "uncertainty": 0.8, "predicted": "withMask", "why": "undecided"}
        session.add(ProposalRow(round_id=row.id, image_id=image.id, rank=1, path=image.path, **said))
    return image
