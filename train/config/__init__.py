"""Everything that decides a training run, as one record saved in the run folder and read back by ``--config``.

Nothing here imports PyTorch: ``engine train --help`` is made from these classes.
"""

from __future__ import annotations

from .base import STAGES, Activation, NetworkShape, Norm, Padding, Positive, TrainConfig, VGGScaling, Weight
from .critic import AUGMENTATION_NAMES, CriticConfig
from .dcgan import DCGANConfig
from .editors import PENALTY_OF_LOSS, ACLGANConfig, EditorConfig, StarGANConfig, parse_window
from .faces import DEFAULT_ATTRIBUTES, AttributeConfig, ClassifierConfig, FacesConfig
from .file import (
    CONFIG_FORMAT,
    CONFIG_NAME,
    OLDEST_SHAPE,
    is_config,
    load_config,
    make_config,
    read_sessions,
    read_values,
    save_config,
)
from .hair import HAIR_NAMES, HairConfig
from .marks import Alias, NotWith, With, flag
from .paired import PairedConfig, PerceptualConfig, PhotosConfig
from .psc_gan import PSCGANConfig
from .stages import earlier_runs
from .unpaired import SEMANTIC_WEIGHTS, CycleGANConfig, DistillConfig, SemanticDistance, SemanticLayer, UnpairedConfig

__all__ = [
    "AUGMENTATION_NAMES",
    "CONFIG_FORMAT",
    "CONFIG_NAME",
    "DEFAULT_ATTRIBUTES",
    "HAIR_NAMES",
    "OLDEST_SHAPE",
    "PENALTY_OF_LOSS",
    "SEMANTIC_WEIGHTS",
    "STAGES",
    "ACLGANConfig",
    "Activation",
    "Alias",
    "AttributeConfig",
    "ClassifierConfig",
    "CriticConfig",
    "CycleGANConfig",
    "DCGANConfig",
    "DistillConfig",
    "EditorConfig",
    "FacesConfig",
    "HairConfig",
    "NetworkShape",
    "Norm",
    "NotWith",
    "PSCGANConfig",
    "Padding",
    "PairedConfig",
    "PerceptualConfig",
    "PhotosConfig",
    "Positive",
    "SemanticDistance",
    "SemanticLayer",
    "StarGANConfig",
    "TrainConfig",
    "UnpairedConfig",
    "VGGScaling",
    "Weight",
    "With",
    "earlier_runs",
    "flag",
    "is_config",
    "load_config",
    "make_config",
    "parse_window",
    "read_sessions",
    "read_values",
    "save_config",
]
