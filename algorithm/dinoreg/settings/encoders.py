"""The settings of the encoders, and of the joint PCA of what they give."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from dinoreg.settings.base import Count, Range, Settings, Sha256, Share, Slices, Weight


class Mind(Settings):
    """MIND-SSC; voxels."""

    name: Literal["mind"] = "mind"
    weight: Weight = 1.0  # share of this encoder among several
    radius: Annotated[int, Field(ge=1, le=10)] = 1  # half width of the patch
    dilation: Annotated[int, Field(ge=1, le=10)] = 2  # distance of the neighbours


class Intensity(Settings):
    """The prepared intensities as they are."""

    name: Literal["intensity"] = "intensity"
    weight: Weight = 1.0  # share of this encoder among several


class TokenSettings(Settings):
    """A 2D token encoder, slice by slice, and the joint PCA of its tokens (Song et al. 2024)."""

    weight: Weight = 1.0  # share of this encoder among several
    sha256: Sha256 = ""  # digest that the weights must have; empty: that of the official file
    # "array": slices across array axis `axis`, as they are stored; "axial" and so on: by the directions of
    # the patient in the header, and seen the same way however the image is stored.
    slices: Slices = "array"
    axis: Annotated[int, Field(ge=0, le=2)] = 2  # array axis across the slices, where `slices` is "array"
    up_sampling: Annotated[float, Field(ge=0.1, le=32)] = 5.3  # pixels per voxel of the finer in-plane axis
    # Patches are not made smaller than this by up_sampling, so that small voxels do not make more of them
    # than there is to see; 0: no limit. Scaled along with all lengths (max_cells).
    token_pitch_mm: Range = 0.0
    whole_slices: bool = False  # true: the blank border and slices without foreground are encoded as well
    slice_step: Annotated[int, Field(ge=1, le=100)] = 3  # every n-th slice is encoded, and the last one
    components: Annotated[int, Field(ge=1, le=1024)] = 24  # of the joint PCA
    # "centred": the mean token becomes 0, as the background is; "uncentred": as published.
    projection: Literal["centred", "uncentred"] = "centred"
    # false: all patches count and none becomes 0, "w/o masking" in table 3 of Song et al. 2024.
    pca_mask: bool = True
    foreground_share: Share = 0.99  # patches with more foreground than this count, the others become 0
    basis: str = ""  # .safetensors with a saved basis; empty: fitted to the pair
    batch: Count = 8  # slices at a time
    # On a GPU; "auto" is float16. A CPU always computes in float32.
    precision: Literal["auto", "float32", "float16", "bfloat16"] = "auto"
    storage: Literal["float16", "float32"] = "float16"  # of the tokens between encoder and PCA


class Dino(TokenSettings):
    """What DINOv2 and DINOv3 have in common."""

    # "none": intensities in [0, 1] go in as they are, as published; "imagenet": by its mean and deviation.
    normalisation: Literal["none", "imagenet"] = "none"


class Dinov2(Dino):
    """DINOv2 by its official weights."""

    name: Literal["dinov2"] = "dinov2"
    variant: Literal[
        "vits14", "vitb14", "vitl14", "vitg14", "vits14-reg", "vitb14-reg", "vitl14-reg", "vitg14-reg"
    ] = "vitl14-reg"
    weights: str = ""  # file or folder; empty: $DINOREG_WEIGHTS, /opt/ml/model, the image


class Dinov3(Dino):
    """DINOv3 by a checkpoint of your own: its licence has to be accepted before the download."""

    name: Literal["dinov3"] = "dinov3"
    # As the weights of `Sam`.
    weights: Annotated[str, Field(min_length=1)]


class Sam(TokenSettings):
    """The image encoder of SAM or MedSAM; without a cls token, the mean over the slice stands for it."""

    name: Literal["sam"] = "sam"
    # File, folder, or name on Hugging Face; what is not there is looked for in $DINOREG_WEIGHTS,
    # /opt/ml/model and the image.
    weights: Annotated[str, Field(min_length=1)] = "sam_vit_b_01ec64.pth"
    # What the checkpoint was trained on; "auto" goes by its name: medsam..., or sam_...
    intensities: Literal["auto", "sam", "medsam"] = "auto"


class Dino3d(Settings):
    """The volume encoder of this project, and the joint PCA of its features."""

    name: Literal["dino3d"] = "dino3d"
    weight: Weight = 1.0  # share of this encoder among several
    sha256: Sha256 = ""  # digest that the weights must have; empty: that of the shipped file
    weights: str = ""  # file; empty: the shipped one
    components: Annotated[int, Field(ge=0, le=1024)] = 16  # of the joint PCA; 0: all channels as they are
    # Voxels that the network sees; 0: those it was trained on. Scaled along with all lengths (max_cells).
    spacing_mm: Range = 0.0
    tile: Annotated[int, Field(ge=16, le=4096)] = 384  # such voxels per axis at a time, without the overlap
    # On a GPU; "auto" is bfloat16, as in training, where the GPU has it. A CPU always computes in float32.
    precision: Literal["auto", "float32", "float16", "bfloat16"] = "auto"


TokenEncoder = Dinov2 | Dinov3 | Sam
Encoder = Annotated[Mind | Intensity | TokenEncoder | Dino3d, Field(discriminator="name")]
