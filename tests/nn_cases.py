"""The table of layers: constructor arguments and inputs, for every property test of `nn`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

Maker = Callable[[np.random.Generator], np.ndarray]


class Case(NamedTuple):
    """A layer, its arguments, and what makes its inputs; the first inputs are differentiated."""

    layer: str
    args: tuple
    kwargs: dict[str, Any]
    inputs: tuple[Maker, ...]
    options: frozenset[str]

    def __str__(self) -> str:
        given = [str(a) for a in self.args] + [f"{k}={v}" for k, v in self.kwargs.items()]
        mode = "-eval" if "eval" in self.options else ""
        return f"{self.layer}({','.join(given)}){mode}".replace(" ", "")


def case(layer: str, *args: Any, of: tuple | Maker, only: str = "", **kwargs: Any) -> Case:
    """Make a row. `only` holds words: eval, fixed_last (no gradient for the last input), random."""
    inputs = of if isinstance(of, tuple) else (of,)
    return Case(layer, args, kwargs, inputs, frozenset(only.split()))


def normal(*shape: int) -> Maker:
    return lambda rng: rng.standard_normal(shape).astype(np.float32)


def unit(*shape: int) -> Maker:
    return lambda rng: rng.uniform(0.1, 0.9, shape).astype(np.float32)


def index(high: int, *shape: int) -> Maker:
    return lambda rng: rng.integers(0, high, shape)


def counts(*shape: int) -> Maker:
    return lambda rng: rng.integers(0, 5, shape).astype(np.float32)


def sign(*shape: int) -> Maker:
    return lambda rng: rng.choice([-1.0, 1.0], shape).astype(np.float32)


def fixed(values: Any) -> Maker:
    return lambda rng: np.array(values)


KINKS = fixed(
    np.array([[-1, 1, 0, 0.5, -0.5, 3, -3, 6], [-6, 40, -40, 90, -90, 0.3, -0.3, 0.1]], np.float32)
)
SPACE = {1: (9,), 2: (9, 8), 3: (5, 6, 5)}
REDUCTIONS = ("mean", "sum", "none")


def activations() -> Iterator[Case]:
    settings: list[tuple] = [
        ("ReLU",), ("ReLU", True), ("ReLU6",), ("ReLU6", True), ("GELU",), ("GELU", "tanh"),
        ("SiLU",), ("SiLU", True), ("Mish",), ("Mish", True), ("ELU", 1.3), ("ELU", 1.3, True),
        ("SELU",), ("SELU", True), ("CELU", 0.7), ("CELU", 0.7, True), ("LeakyReLU", 0.2),
        ("LeakyReLU", 0.2, True), ("Sigmoid",), ("LogSigmoid",), ("Tanh",), ("Softplus",),
        ("Softplus", 2.0, 1.0), ("Softsign",), ("Tanhshrink",), ("Hardtanh",),
        ("Hardtanh", -0.5, 0.7, True), ("Hardswish",), ("Hardswish", True), ("Hardsigmoid",),
        ("Hardsigmoid", True), ("Hardshrink",), ("Hardshrink", 0.3), ("Softshrink",),
        ("Softshrink", 0.3), ("Threshold", 0.1, 20.0), ("Threshold", 0.1, 20.0, True),
        ("Softmax", 1), ("LogSoftmax", 1), ("Softmin", 1), ("Identity",),
    ]  # fmt: skip
    for layer, *args in settings:
        yield case(layer, *args, of=normal(4, 6))
        yield case(layer, *args, of=KINKS)
    yield case("RReLU", of=normal(4, 6), only="eval")
    yield case("RReLU", 0.1, 0.3, True, of=normal(4, 6), only="eval")
    yield case("PReLU", of=normal(4, 6))
    yield case("PReLU", 3, of=normal(2, 3, 4, 4))
    yield case("GLU", of=normal(4, 6))
    yield case("GLU", 1, of=normal(2, 4, 3))
    yield case("Softmax2d", of=normal(2, 3, 4, 4))


def linears() -> Iterator[Case]:
    yield case("Linear", 6, 3, of=normal(4, 6))
    yield case("Linear", 6, 3, False, of=normal(2, 4, 6))
    yield case("Linear", 6, 3, of=normal(6))
    yield case("Bilinear", 6, 3, 5, of=(normal(4, 6), normal(4, 3)))
    yield case("Bilinear", 6, 3, 5, False, of=(normal(2, 4, 6), normal(2, 4, 3)))
    yield case("Flatten", of=normal(2, 3, 4))
    yield case("Unflatten", 1, (2, 3), of=normal(2, 6, 4))
    yield case("Embedding", 10, 3, of=index(10, 2, 4))
    yield case("Embedding", 10, 3, 2, of=index(10, 2, 4))
    yield case("Embedding", 10, 3, scale_grad_by_freq=True, of=index(4, 2, 4))
    yield case("PixelShuffle", 2, of=normal(2, 8, 3, 4))
    yield case("PixelUnshuffle", 2, of=normal(2, 8, 6, 4))
    yield case("ChannelShuffle", 2, of=normal(2, 4, 3, 3))
    yield case("Unfold", 2, of=normal(2, 3, 5, 5))
    yield case("Unfold", (2, 3), padding=1, stride=2, of=normal(2, 3, 5, 5))
    yield case("Fold", (4, 4), 2, of=normal(2, 12, 9))


def convolutions() -> Iterator[Case]:
    for n, space in SPACE.items():
        x = normal(2, 4, *space)
        for kwargs in (
            {},
            {"stride": 2, "padding": 1},
            {"padding": "valid", "bias": False},
            {"padding": "same", "dilation": 2 if n < 3 else 1},
            {"groups": 2},
            {"padding": 1, "padding_mode": "reflect"},
            {"padding": 1, "padding_mode": "replicate"},
            {"padding": "same", "padding_mode": "circular"},
        ):
            yield case(f"Conv{n}d", 4, 6, 3, of=x, **kwargs)
        yield case(f"Conv{n}d", 4, 6, 2, of=normal(4, *space))
        for kwargs in (
            {},
            {"stride": 2, "padding": 1, "output_padding": 1},
            {"groups": 2, "bias": False},
            {"dilation": 2},
        ):
            yield case(f"ConvTranspose{n}d", 4, 6, 3, of=x, **kwargs)


def pools() -> Iterator[Case]:
    for n, space in SPACE.items():
        x = normal(2, 3, *space)
        yield case(f"MaxPool{n}d", 2, of=x)
        yield case(f"MaxPool{n}d", 3, stride=2, padding=1, ceil_mode=True, of=x)
        yield case(f"MaxPool{n}d", 2, return_indices=True, of=x)
        yield case(f"AvgPool{n}d", 2, of=x)
        yield case(
            f"AvgPool{n}d", 3, stride=2, padding=1, ceil_mode=True, count_include_pad=False, of=x
        )
        yield case(f"LPPool{n}d", 2, 2, of=unit(2, 3, *space))
        for kind in ("Reflection", "Replication", "Circular", "Zero"):
            yield case(f"{kind}Pad{n}d", 2, of=x)
            yield case(f"{kind}Pad{n}d", (1, 2, 0, 1, 2, 1)[: 2 * n], of=x)
        yield case(f"ConstantPad{n}d", 2, 3.5, of=x)
    yield case("AvgPool2d", 2, divisor_override=3, of=normal(2, 3, 8, 8))
    yield case("AdaptiveAvgPool1d", 3, of=normal(2, 3, 8))
    yield case("AdaptiveAvgPool2d", (3, None), of=normal(2, 3, 8, 7))
    yield case("AdaptiveAvgPool2d", 1, of=normal(2, 3, 8, 7))
    yield case("AdaptiveAvgPool3d", (2, None, 3), of=normal(2, 3, 4, 5, 6))
    yield case("AdaptiveMaxPool1d", 3, of=normal(2, 3, 8))
    yield case("AdaptiveMaxPool3d", (2, 5, 3), True, of=normal(2, 3, 4, 5, 6))
    yield case("AdaptiveMaxPool2d", (3, 2), of=normal(2, 3, 8, 7))
    yield case("AdaptiveMaxPool2d", (3, 2), True, of=normal(2, 3, 8, 7))


def resampling() -> Iterator[Case]:
    for n, space in SPACE.items():
        x = normal(2, 3, *space)
        yield case("Upsample", scale_factor=2, of=x)
        yield case("Upsample", 7, mode=("linear", "bilinear", "trilinear")[n - 1], of=x)
        places = np.stack(
            [np.sort(np.random.default_rng(i).permutation(4**n)[: 2**n]) for i in (0, 1)]
        )
        where = fixed(places.reshape(2, 1, *[2] * n))
        yield case(f"MaxUnpool{n}d", 2, of=(normal(2, 1, *[2] * n), where))
    yield case("Upsample", (5, 9), mode="bicubic", align_corners=True, of=normal(2, 3, 8, 8))
    yield case("Upsample", None, (0.7, 1.5), "bilinear", False, True, of=normal(2, 3, 8, 8))
    yield case("UpsamplingNearest2d", 3, of=normal(2, 3, 8, 7))
    yield case("UpsamplingBilinear2d", scale_factor=2, of=normal(2, 3, 8, 7))
    yield case("FractionalMaxPool2d", 3, (4, 5), of=normal(2, 3, 9, 8), only="random")
    yield case("FractionalMaxPool2d", (2, 3), output_ratio=0.5, return_indices=True,
               of=normal(2, 3, 9, 8), only="random")  # fmt: skip
    samples = np.array([[[0.25, 0.75]]], np.float32)
    yield case("FractionalMaxPool2d", 2, 4, _random_samples=samples, of=normal(1, 1, 9, 8))
    samples = np.array([[[0.5, 0.25, 0.75]]], np.float32)
    yield case("FractionalMaxPool3d", 2, 3, _random_samples=samples, of=normal(1, 1, 5, 6, 5))


def bags() -> Iterator[Case]:
    offsets = fixed([0, 2, 2, 5])
    for mode in ("sum", "mean", "max"):
        yield case("EmbeddingBag", 10, 3, mode=mode, of=index(10, 2, 4))
        yield case("EmbeddingBag", 10, 3, mode=mode, padding_idx=2, of=(index(10, 7), offsets))
    yield case("EmbeddingBag", 10, 3, 1.5, mode="sum", include_last_offset=True,
               of=(index(10, 5), offsets))  # fmt: skip
    yield case("EmbeddingBag", 10, 3, mode="sum", of=(index(10, 7), offsets, normal(7)))


def norms() -> Iterator[Case]:
    for n, space in SPACE.items():
        x = normal(2, 3, *space)
        for kwargs in (
            {},
            {"affine": False},
            {"track_running_stats": False},
            {"momentum": None},
            {"bias": False},
        ):
            yield case(f"BatchNorm{n}d", 3, of=x, **kwargs)
            yield case(f"BatchNorm{n}d", 3, of=x, only="eval", **kwargs)
        tracked = {"affine": True, "track_running_stats": True}
        yield case(f"InstanceNorm{n}d", 3, of=x)
        yield case(f"InstanceNorm{n}d", 3, of=x, **tracked)
        yield case(f"InstanceNorm{n}d", 3, of=normal(3, *space), only="eval", **tracked)
    yield case("BatchNorm1d", 3, of=normal(5, 3))
    yield case("LayerNorm", 6, of=normal(2, 4, 6))
    yield case("LayerNorm", (4, 6), bias=False, of=normal(2, 4, 6))
    yield case("LayerNorm", 6, elementwise_affine=False, eps=1e-3, of=normal(2, 4, 6))
    yield case("RMSNorm", 6, of=normal(2, 4, 6))
    yield case("RMSNorm", (4, 6), 1e-3, False, of=normal(2, 4, 6))
    yield case("GroupNorm", 2, 4, of=normal(3, 4, 5))
    yield case("GroupNorm", 2, 4, affine=False, of=normal(3, 4, 5, 2))
    yield case("GroupNorm", 2, 4, bias=False, of=normal(3, 4, 5, 2))
    yield case("LocalResponseNorm", 2, of=normal(3, 4, 5, 2))
    yield case("LocalResponseNorm", 3, 1e-2, 0.5, 2.0, of=normal(3, 4, 5))


def dropouts() -> Iterator[Case]:
    for args in ((0.3,), (0.3, True), (1.0,)):
        yield case("Dropout", *args, of=normal(20, 7), only="random")
    yield case("Dropout", 0.0, of=normal(4, 7))
    yield case("Dropout", of=normal(4, 7), only="eval")
    yield case("Dropout1d", 0.4, of=normal(5, 3, 4), only="random")
    yield case("Dropout2d", 0.4, of=normal(5, 3, 4, 2), only="random")
    yield case("Dropout3d", 0.4, of=normal(5, 3, 4, 2, 2), only="random")
    yield case("AlphaDropout", 0.3, of=normal(20, 7), only="random")
    yield case("FeatureAlphaDropout", 0.3, of=normal(4, 7, 3), only="random")


def similarities() -> Iterator[Case]:
    pair = (normal(4, 6), normal(4, 6))
    yield case("CosineSimilarity", of=pair)
    yield case("CosineSimilarity", -1, of=(normal(2, 4, 6), normal(2, 4, 6)))
    yield case("PairwiseDistance", of=pair)
    yield case("PairwiseDistance", 1.0, keepdim=True, of=pair)


def regression_losses() -> Iterator[Case]:
    pair = (normal(4, 6), normal(4, 6))
    for r in REDUCTIONS:
        yield case("MSELoss", reduction=r, of=pair)
        yield case("L1Loss", reduction=r, of=pair)
        yield case("SmoothL1Loss", reduction=r, of=pair)
        yield case("SmoothL1Loss", beta=0.4, reduction=r, of=pair)
        yield case("SmoothL1Loss", beta=0.0, reduction=r, of=pair)
        yield case("HuberLoss", delta=0.4, reduction=r, of=pair)
        rates = (normal(4, 6), counts(4, 6))
        yield case("PoissonNLLLoss", full=True, reduction=r, of=rates, only="fixed_last")
        rates = (unit(4, 6), counts(4, 6))
        yield case("PoissonNLLLoss", log_input=False, reduction=r, of=rates)
        yield case("GaussianNLLLoss", full=True, reduction=r, of=(*pair, unit(4, 6)))
        yield case("GaussianNLLLoss", eps=0.3, reduction=r, of=(*pair, unit(4, 1)))
        yield case("GaussianNLLLoss", reduction=r, of=(*pair, unit(4)))


def classification_losses() -> Iterator[Case]:
    x = normal(4, 6)
    weight = np.linspace(0.2, 1.0, 6, dtype=np.float32)
    for r in REDUCTIONS:
        yield case("CrossEntropyLoss", reduction=r, of=(x, index(6, 4)))
        smooth = {"ignore_index": 2, "label_smoothing": 0.1}
        yield case("CrossEntropyLoss", reduction=r, of=(normal(4, 6, 3), index(6, 4, 3)), **smooth)
        yield case("CrossEntropyLoss", label_smoothing=0.1, reduction=r, of=(x, unit(4, 6)))
        yield case("CrossEntropyLoss", weight, reduction=r, of=(x, index(6, 4)))
        yield case(
            "CrossEntropyLoss", weight, label_smoothing=0.2, reduction=r, of=(x, index(6, 4))
        )
        yield case("NLLLoss", reduction=r, of=(x, index(6, 4)))
        image = (normal(4, 6, 2, 2), index(6, 4, 2, 2))
        yield case("NLLLoss", weight, ignore_index=1, reduction=r, of=image)
        chances = (unit(4, 6), unit(4, 6))
        yield case("BCELoss", reduction=r, of=chances, only="fixed_last")
        yield case("BCELoss", weight, reduction=r, of=chances, only="fixed_last")
        yield case("BCEWithLogitsLoss", reduction=r, of=(x, unit(4, 6)), only="fixed_last")
        both = {"pos_weight": weight + 1, "reduction": r}
        yield case("BCEWithLogitsLoss", weight, of=(x, unit(4, 6)), only="fixed_last", **both)
        yield case("KLDivLoss", reduction=r, of=(x, unit(4, 6)))
        yield case("KLDivLoss", log_target=True, reduction=r, of=(x, unit(4, 6)))
        yield case("SoftMarginLoss", reduction=r, of=(x, sign(4, 6)), only="fixed_last")
        yield case("MultiMarginLoss", reduction=r, of=(x, index(6, 4)))
        yield case("MultiMarginLoss", 2, 0.5, weight, reduction=r, of=(x, index(6, 4)))
        labels = fixed([[3, 0, -1, 1], [1, 2, 3, 0], [-1, 0, 0, 0]])
        yield case("MultiLabelMarginLoss", reduction=r, of=(normal(3, 4), labels))
        soft = (x, lambda rng: rng.integers(0, 2, (4, 6)).astype(np.float32))
        yield case("MultiLabelSoftMarginLoss", reduction=r, of=soft, only="fixed_last")
        yield case("LinearCrossEntropyLoss", 6, 5, bias=True, reduction=r, of=(x, index(5, 4)))
        yield case("LinearCrossEntropyLoss", 6, 5, out_features=(3,), reduction=r,
                   of=(x, unit(4, 5, 3)))  # fmt: skip
        logp = fixed(
            np.log(np.random.default_rng(2).dirichlet([1.0] * 6, (7, 3)), dtype=np.float32)
        )
        yield case("CTCLoss", 5, reduction=r, zero_infinity=True,
                   of=(logp, index(5, 3, 4), fixed([7, 6, 2]), fixed([3, 0, 4])))  # fmt: skip
    yield case("KLDivLoss", reduction="batchmean", of=(x, unit(4, 6)))


def embedding_losses() -> Iterator[Case]:
    x, pair = normal(4, 6), (normal(4, 6), normal(4, 6))
    for r in REDUCTIONS:
        yield case("HingeEmbeddingLoss", reduction=r, of=(x, sign(4, 6)), only="fixed_last")
        yield case("CosineEmbeddingLoss", 0.2, reduction=r, of=(*pair, sign(4)), only="fixed_last")
        ranks = (normal(4), normal(4), sign(4))
        yield case("MarginRankingLoss", 0.3, reduction=r, of=ranks, only="fixed_last")
        triple = (x, *pair)
        yield case("TripletMarginLoss", reduction=r, of=triple)
        yield case("TripletMarginLoss", 0.5, 1.0, swap=True, reduction=r, of=triple)
        yield case("TripletMarginWithDistanceLoss", reduction=r, of=triple)


CASES = [
    *activations(), *linears(), *convolutions(), *pools(), *resampling(), *bags(),
    *norms(), *dropouts(), *similarities(), *regression_losses(), *classification_losses(),
    *embedding_losses(),
]  # fmt: skip
