"""The data loader: batches of samples, in the order of a sampler."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Generic, TypeVar

import multitorch
from multitorch.tensor import Tensor
from multitorch.utils.data.collate import (
    collate_tensors,
    default_collate,
    default_collate_fn_map,
    default_convert,
)
from multitorch.utils.data.dataset import Dataset, IterableDataset, Subset, TensorDataset
from multitorch.utils.data.sampler import (
    BatchSampler,
    RandomSampler,
    Sampler,
    SequentialSampler,
    draw_seed,
)

__all__ = ["DataLoader", "WorkerInfo", "get_worker_info"]

T_co = TypeVar("T_co", covariant=True)


class WorkerInfo:
    """What a worker process knows of itself: `id`, `num_workers`, `seed` and its `dataset`."""

    def __init__(self, id: int, num_workers: int, seed: int, dataset: Any) -> None:
        self.id = id
        self.num_workers = num_workers
        self.seed = seed
        self.dataset = dataset


def get_worker_info() -> WorkerInfo | None:
    """Return the `WorkerInfo` of this worker process; None in the main process."""
    return None


class _InfiniteConstantSampler(Sampler[None]):
    """Ask an iterable dataset for one more sample, for ever."""

    def __iter__(self) -> Iterator[None]:
        return itertools.repeat(None)


class _DatasetKind:
    Map = 0
    Iterable = 1


class DataLoader(Generic[T_co]):
    """Iterate over a dataset in batches.

    `shuffle` draws a new order for every pass. A `sampler` gives the order itself, a
    `batch_sampler` whole lists of indices. `batch_size=None` yields single samples. `collate_fn`
    makes a batch of a list of samples, by default `default_collate`. Loading is done in this
    process: `num_workers` must be 0.

    >>> data = multitorch.utils.data.TensorDataset(multitorch.arange(5))
    >>> for (x,) in DataLoader(data, batch_size=2):
    ...     print(x)
    tensor([0, 1])
    tensor([2, 3])
    tensor([4])
    """

    _initialized = False

    def __init__(
        self,
        dataset: Dataset[T_co],
        batch_size: int | None = 1,
        shuffle: bool | None = None,
        sampler: Sampler | Iterable | None = None,
        batch_sampler: Sampler[list] | Iterable[list] | None = None,
        num_workers: int = 0,
        collate_fn: Callable[[list], Any] | None = None,
        pin_memory: bool = False,
        drop_last: bool = False,
        timeout: float = 0,
        worker_init_fn: Callable[[int], None] | None = None,
        multiprocessing_context: Any = None,
        generator: Any = None,
        *,
        prefetch_factor: int | None = None,
        persistent_workers: bool = False,
        pin_memory_device: str = "",
        in_order: bool = True,
    ) -> None:
        _check_workers(
            num_workers, timeout, prefetch_factor, persistent_workers, multiprocessing_context
        )
        self.dataset = dataset
        self.num_workers = num_workers
        self.prefetch_factor = prefetch_factor
        self.pin_memory = pin_memory
        self.pin_memory_device = pin_memory_device
        self.timeout = timeout
        self.worker_init_fn = worker_init_fn
        self.multiprocessing_context = multiprocessing_context
        self.in_order = in_order
        self.generator = generator
        self.persistent_workers = persistent_workers
        if isinstance(dataset, IterableDataset):
            self._dataset_kind = _DatasetKind.Iterable
            _check_iterable_options(shuffle, sampler, batch_sampler)
        else:
            self._dataset_kind = _DatasetKind.Map
        _check_batching(batch_size, bool(shuffle), sampler, batch_sampler, drop_last)
        self.sampler = self._default_sampler(bool(shuffle)) if sampler is None else sampler
        if batch_sampler is not None:
            batch_size = None
        elif batch_size is not None:
            batch_sampler = BatchSampler(self.sampler, batch_size, drop_last)
        self.batch_size = batch_size
        self.drop_last = drop_last
        self.batch_sampler = batch_sampler
        default = default_collate if self._auto_collation else default_convert
        self.collate_fn = default if collate_fn is None else collate_fn
        self._IterableDataset_len_called: int | None = None
        self._initialized = True

    def _default_sampler(self, shuffle: bool) -> Sampler:
        if self._dataset_kind == _DatasetKind.Iterable:
            return _InfiniteConstantSampler()
        if shuffle:
            return RandomSampler(self.dataset, generator=self.generator)  # type: ignore[arg-type]
        return SequentialSampler(self.dataset)  # type: ignore[arg-type]

    def __setattr__(self, name: str, value: Any) -> None:
        if self._initialized and name in _FIXED:
            raise ValueError(
                f"{name} attribute should not be set after {type(self).__name__} is initialized"
            )
        super().__setattr__(name, value)

    @property
    def _auto_collation(self) -> bool:
        return self.batch_sampler is not None

    @property
    def _index_sampler(self) -> Any:
        return self.batch_sampler if self._auto_collation else self.sampler

    def __iter__(self) -> Iterator[Any]:
        return _LoaderIterator(self)

    def __len__(self) -> int:
        if self._dataset_kind == _DatasetKind.Map:
            return len(self._index_sampler)
        length = self._IterableDataset_len_called = len(self.dataset)  # type: ignore[arg-type]
        if self.batch_size is None:
            return length
        return length // self.batch_size if self.drop_last else -(-length // self.batch_size)


_FIXED = frozenset(
    ("batch_size", "batch_sampler", "sampler", "drop_last", "dataset", "persistent_workers")
)


def _check_workers(
    num_workers: int, timeout: float, prefetch_factor: Any, persistent: bool, context: Any
) -> None:
    if num_workers < 0:
        raise ValueError(
            "num_workers option should be non-negative; use num_workers=0 to disable "
            "multiprocessing."
        )
    if timeout < 0:
        raise ValueError("timeout option should be non-negative")
    if num_workers > 0:
        raise NotImplementedError(
            f"DataLoader: num_workers={num_workers}, but loading in worker processes is not "
            "supported yet. Remedy: use num_workers=0."
        )
    if prefetch_factor is not None:
        raise ValueError(
            "prefetch_factor option could only be specified in multiprocessing."
            "let num_workers > 0 to enable multiprocessing, otherwise set prefetch_factor to None."
        )
    if persistent:
        raise ValueError("persistent_workers option needs num_workers > 0")
    if context is not None:
        raise ValueError(
            "multiprocessing_context can only be used with multi-process loading "
            f"(num_workers > 0), but got num_workers={num_workers}"
        )


def _check_iterable_options(shuffle: Any, sampler: Any, batch_sampler: Any) -> None:
    start = "DataLoader with IterableDataset: expected unspecified"
    if shuffle not in (False, None):
        raise ValueError(f"{start} shuffle option, but got shuffle={shuffle}")
    if sampler is not None:
        raise ValueError(f"{start} sampler option, but got sampler={sampler}")
    if batch_sampler is not None:
        raise ValueError(f"{start} batch_sampler option, but got batch_sampler={batch_sampler}")


def _check_batching(
    batch_size: int | None, shuffle: bool, sampler: Any, batch_sampler: Any, drop_last: bool
) -> None:
    if sampler is not None and shuffle:
        raise ValueError("sampler option is mutually exclusive with shuffle")
    if batch_sampler is not None:
        if batch_size != 1 or shuffle or sampler is not None or drop_last:
            raise ValueError(
                "batch_sampler option is mutually exclusive with batch_size, shuffle, sampler, "
                "and drop_last"
            )
    elif batch_size is None and drop_last:
        raise ValueError(
            "batch_size=None option disables auto-batching and is mutually exclusive with drop_last"
        )


class _LoaderIterator:
    """One pass over a loader."""

    def __init__(self, loader: DataLoader) -> None:
        self._loader = loader
        self._length = loader._IterableDataset_len_called
        self._indices = iter(loader._index_sampler)
        # Nothing in this process uses it; the draw keeps the generator in step with PyTorch's.
        self._base_seed = draw_seed(loader.generator)
        self._count = 0
        fetchers = (_MapFetcher, _IterableFetcher)
        self._fetch = fetchers[loader._dataset_kind](loader).fetch

    def __iter__(self) -> _LoaderIterator:
        return self

    def __len__(self) -> int:
        return len(self._loader._index_sampler)

    def __next__(self) -> Any:
        batch = self._fetch(next(self._indices))
        self._count += 1
        if self._length is not None and self._count > self._length:
            self._warn_about_length()
        return batch

    def _warn_about_length(self) -> None:
        warnings.warn(
            f"Length of IterableDataset {self._loader.dataset} was reported to be {self._length} "
            f"(when accessing len(dataloader)), but {self._count} samples have been fetched. ",
            stacklevel=3,
        )


class _IterableFetcher:
    """Takes as many samples from a stream as it is given indices."""

    def __init__(self, loader: DataLoader) -> None:
        self.loader = loader
        self.samples = iter(loader.dataset)  # type: ignore[call-overload]
        self.ended = False

    def fetch(self, indices: Any) -> Any:
        if self.ended:
            raise StopIteration
        if not self.loader._auto_collation:
            return self.loader.collate_fn(next(self.samples))
        batch = list(itertools.islice(self.samples, len(indices)))
        self.ended = len(batch) < len(indices)
        if not batch or (self.ended and self.loader.drop_last):
            raise StopIteration
        return self.loader.collate_fn(batch)


class _MapFetcher:
    """Asks a dataset for the samples at some indices."""

    def __init__(self, loader: DataLoader) -> None:
        self.loader = loader
        self.dataset: Any = loader.dataset

    def fetch(self, indices: Any) -> Any:
        collate_fn = self.loader.collate_fn
        if not self.loader._auto_collation:
            return collate_fn(self.dataset[indices])
        if collate_fn is default_collate:
            batch = _rows_at_once(self.dataset, indices)
            if batch is not None:
                return batch
        if getattr(self.dataset, "__getitems__", None):
            return collate_fn(self.dataset.__getitems__(indices))
        return collate_fn([self.dataset[i] for i in indices])


def _rows_at_once(dataset: Any, indices: Any) -> list[Tensor] | None:
    """Return what collating rows of tensors gives, taken by one index; None where that differs."""
    while type(dataset) is Subset and type(dataset.indices) is list:
        indices = [dataset.indices[i] for i in indices]
        dataset = dataset.dataset
    if type(dataset) is not TensorDataset or not _stacks_plainly(dataset.tensors):
        return None
    size = len(dataset)
    if not indices or any(type(i) is not int or not 0 <= i < size for i in indices):
        return None
    at: dict[Any, Tensor] = {}
    for tensor in dataset.tensors:
        if tensor.device not in at:
            at[tensor.device] = multitorch.tensor(indices, device=tensor.device)
    return [tensor.index_select(0, at[tensor.device]) for tensor in dataset.tensors]


def _stacks_plainly(tensors: tuple[Tensor, ...]) -> bool:
    """Whether rows of the tensors are stacked, and no derivative flows through them."""
    return default_collate_fn_map.get(Tensor) is collate_tensors and all(
        type(tensor) is Tensor and not tensor.requires_grad for tensor in tensors
    )
