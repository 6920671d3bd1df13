"""Properties of single patches, and copies among them."""

import os

import numpy as np
import pandas as pd
from scipy.fft import dctn
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from ..data.cache import map_parts
from ..data.decode import IMAGE_SHAPE

PATCHES_PER_PART = 1_000
THUMBNAIL = 32  # pixels per side; averaging 3x3 pixels keeps colors and removes noise
GLASS_FROM = 220  # stained tissue is darker in some channel: optical density 0.15
BLACK_UP_TO, BLACK_SHARE = 60, 0.7  # brightest channel; share of such pixels in a black patch
NEAR_EMPTY_TISSUE = 0.05  # share of tissue below which a patch is near-empty
HASH_SIDE = 8
HASH_BANDS = 4  # two hashes that differ in up to 3 bits agree in one of 4 bands
LARGEST_DISTANCE = HASH_BANDS - 1
MAX_EQUAL = 4  # equal hashes that are compared with each other
MAX_SHARED = 1_000  # hashes that share a band; 22 among 22,000 patches of PCam
LOWEST_CORRELATION = 0.97  # between the gray thumbnails of a pair


def measure_patches(images: np.ndarray) -> pd.DataFrame:
    """Measure every patch in one pass on all cores.

    Args:
        images: uint8 array (n, 96, 96, 3), RGB.

    Returns:
        DataFrame of n rows: `brightness` (mean, 0 to 255), `tissue` (share of pixels
        whose optical density exceeds 0.15 in some channel, the threshold by which Macenko et
        al. 2009 separate tissue from glass), `blank` ("white": no tissue, "near-empty": below
        5 %, "black": 70 % of black pixels; 14 of 22,078 in PCam had 81 % or more, others up to
        56 %; or ""), `hash` (uint64, perceptual) and each channel's mean optical density (`red`,
        `green`, `blue`).
    """

    def measure(start: int) -> pd.DataFrame:
        return measure_patch_part(images[start : start + PATCHES_PER_PART])

    starts = range(0, len(images), PATCHES_PER_PART)
    parts = map_parts(measure, starts, os.cpu_count(), "measured thousand")
    return pd.concat(parts, ignore_index=True)


def measure_patch_part(images: np.ndarray) -> pd.DataFrame:
    """`measure_patches` for one part of the patches."""
    small = shrink_patches(images)
    table = pd.DataFrame({"brightness": small.mean(axis=(1, 2, 3))})
    is_black = (small.max(axis=3) <= BLACK_UP_TO).mean(axis=(1, 2)) >= BLACK_SHARE
    table["tissue"] = (small.min(axis=3) < GLASS_FROM).mean(axis=(1, 2))
    table["blank"] = np.select(
        [is_black, table["tissue"] == 0, table["tissue"] < NEAR_EMPTY_TISSUE],
        ["black", "white", "near-empty"],
        "",
    )
    table["hash"] = hash_patches(small.mean(axis=3))
    density = -np.log((small + 1) / 256)
    for channel, name in enumerate(("red", "green", "blue")):
        table[name] = density[..., channel].mean(axis=(1, 2))
    return table


def shrink_patches(images: np.ndarray) -> np.ndarray:
    """Patches as float32 thumbnails (n, 32, 32, 3): means of 3x3 pixels."""
    step = IMAGE_SHAPE[0] // THUMBNAIL
    sums = sum(
        images[:, row::step, column::step].astype("uint16")
        for row in range(step)
        for column in range(step)
    )
    return sums.astype("float32") / step**2


def hash_patches(gray: np.ndarray) -> np.ndarray:
    """Perceptual hashes: one bit for each of 64 low frequencies: above their median or not.

    This is the pHash of Zauner (2010) on thumbnails. Compression, a change of brightness or a
    little noise flips few of the bits.

    Args:
        gray: float array (n, 32, 32).

    Returns:
        uint64 array (n,).
    """
    waves = dctn(gray, axes=(1, 2))[:, :HASH_SIDE, :HASH_SIDE].reshape(len(gray), -1)
    bits = waves > np.median(waves, axis=1, keepdims=True)
    return np.packbits(bits, axis=1).view(">u8").astype("uint64")[:, 0]


def find_twins(images: np.ndarray, patches: pd.DataFrame) -> pd.DataFrame:
    """Find pairs of patches that show the same tissue: exact and near copies.

    Candidates are pairs whose perceptual hashes differ in at most 3 of 64 bits (`pair_hashes`);
    a pair counts if its thumbnails correlate by 0.97 or more. Blank patches have no pairs. More
    than 4 copies of one patch are linked in a chain, not all with all.

    Args:
        images: uint8 array (n, 96, 96, 3).
        patches: DataFrame as `measure_patches` returns it.

    Returns:
        DataFrame with columns first, second (positions, first < second), distance (bits),
        correlation and exact (bool: the same pixels), the nearest pairs first.
    """
    stained = np.flatnonzero(patches["blank"] == "")
    hashes = patches["hash"].to_numpy()
    pairs = stained[pair_hashes(hashes[stained])]
    distances = np.bitwise_count(hashes[pairs[:, 0]] ^ hashes[pairs[:, 1]])
    twins = pd.DataFrame(pairs, columns=["first", "second"])
    twins["distance"] = distances.astype(int)
    parts = [
        compare_pairs(images, pairs[start : start + PATCHES_PER_PART])
        for start in range(0, len(pairs), PATCHES_PER_PART)
    ]
    compared = np.concatenate([np.zeros((0, 2)), *parts])
    twins["correlation"], twins["exact"] = compared[:, 0], compared[:, 1] == 1
    twins = twins.loc[twins["correlation"] >= LOWEST_CORRELATION]
    order = ["exact", "distance", "first", "second"]
    return twins.sort_values(order, ascending=[False, True, True, True])


def compare_pairs(images: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """For each pair the correlation of its gray thumbnails, and whether it is exact."""
    first, second = (images[pairs[:, side]] for side in (0, 1))
    exact = (first == second).all(axis=(1, 2, 3))
    gray = [shrink_patches(part).mean(axis=3).reshape(len(part), -1) for part in (first, second)]
    centered = [part - part.mean(axis=1, keepdims=True) for part in gray]
    norms = [np.linalg.norm(part, axis=1) for part in centered]
    products = (centered[0] * centered[1]).sum(axis=1)
    return np.stack([products / np.maximum(norms[0] * norms[1], 1e-6), exact], axis=1)


def pair_hashes(hashes: np.ndarray) -> np.ndarray:
    """Pairs of hashes that differ in at most 3 bits: int array (m, 2).

    Two such hashes agree in at least one of their four bands of 16 bits, so only hashes that
    share a band need to be compared. All pairs are found except among many that are alike: of
    equal hashes the first 4 are compared with all others, each further one is paired with the 4
    before it; of hashes that share a band each is compared with 1,000 on either side.
    """
    order = np.argsort(hashes, kind="stable")
    _, starts, sizes = np.unique(hashes[order], return_index=True, return_counts=True)
    ranks = np.arange(len(order)) - np.repeat(starts, sizes)  # among equal hashes
    further = np.flatnonzero(ranks >= MAX_EQUAL)
    found = [
        np.stack([order[further - gap], order[further]], axis=1) for gap in range(1, MAX_EQUAL + 1)
    ]
    few = order[ranks < MAX_EQUAL]
    bits = 64 // HASH_BANDS
    for band in range(HASH_BANDS):
        keys = (hashes[few] >> np.uint64(band * bits)) & np.uint64(2**bits - 1)
        by_key = np.argsort(keys, kind="stable")
        keys, sorted_few = keys[by_key], few[by_key]
        for gap in range(1, MAX_SHARED + 1):  # neighbors in that order, then two apart, ...
            same = keys[:-gap] == keys[gap:]
            if not same.any():
                break
            first, second = sorted_few[:-gap][same], sorted_few[gap:][same]
            near = np.bitwise_count(hashes[first] ^ hashes[second]) <= LARGEST_DISTANCE
            found.append(np.stack([first[near], second[near]], axis=1))
    return np.unique(np.sort(np.concatenate(found), axis=1), axis=0)


def find_unwanted(
    clean: tuple, ids: np.ndarray, labels: np.ndarray, patches: pd.DataFrame, twins: pd.DataFrame
) -> dict:
    """Find the training patches that cleaning leaves out.

    Args:
        clean: names of what to leave out: "blank", the black and the white patches;
            "duplicates", all copies but the first by id, or all of them if their labels
            contradict each other.
        ids: array (n,) of str.
        labels: int array (n,) of 0 and 1.
        patches: DataFrame as `measure_patches` returns it.
        twins: DataFrame as `find_twins` returns it.

    Returns:
        dict of the names in `clean` and sorted positions, int arrays.
    """
    unwanted = {}
    if "blank" in clean:
        unwanted["blank"] = np.flatnonzero(patches["blank"].isin(["black", "white"]))
    if "duplicates" in clean:
        groups = group_twins(len(ids), twins)
        frame = pd.DataFrame({"group": groups, "id": ids, "label": labels})
        by_group = frame.groupby("group")
        is_first = frame["id"] == by_group["id"].transform("min")
        conflicts = by_group["label"].transform("nunique") > 1
        unwanted["duplicates"] = np.flatnonzero(~is_first | conflicts)
    return unwanted


def group_twins(num_patches: int, twins: pd.DataFrame) -> np.ndarray:
    """Return the group of every patch, shared by twins and their twins: int array (n,)."""
    edges = (np.ones(len(twins)), (twins["first"], twins["second"]))
    graph = coo_array(edges, shape=(num_patches, num_patches))
    return connected_components(graph, directed=False)[1]
