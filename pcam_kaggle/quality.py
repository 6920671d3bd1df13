"""What each patch is like, and which are blank, stored twice or labelled both ways."""

import itertools
import os

import joblib
import numpy as np
import pandas as pd
from scipy.fft import dctn
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from sklearn.cluster import KMeans
from sklearn.preprocessing import StandardScaler
from tqdm import tqdm

from .data import IMAGE_SHAPE

PATCHES_PER_PART = 1_000
THUMBNAIL = 32  # side in pixels to which 96 are averaged: colours stay, noise goes
TRANSPARENT = 220  # brightest value of stained tissue: optical density 0.15
DARK = 30  # brightest value of what is black
EMPTY = 0.05  # share of tissue below which a patch is near-empty
HASH_SIDE = 8
HASH_BANDS = 4  # two hashes that differ in up to 3 bits agree in one of 4 bands
LARGEST_DISTANCE = HASH_BANDS - 1
LOWEST_CORRELATION = 0.97  # of the thumbnails of a pair, grey


def measure_patches(images):
    """What each patch is like, in one pass on all cores.

    Args:
        images: uint8 array (n, 96, 96, 3), RGB.

    Returns:
        DataFrame of n rows: `brightness` (mean, 0 to 255), `tissue` (share of pixels
        whose optical density is over 0.15 in a channel, as Macenko et al. 2009 part
        tissue from glass), `blank` ("", "black", "white" or "near-empty"), `hash`
        (uint64, perceptual) and the mean optical density of each channel (`red`,
        `green`, `blue`).
    """
    starts = range(0, len(images), PATCHES_PER_PART)
    pool = joblib.Parallel(
        n_jobs=os.cpu_count(), backend="threading", return_as="generator"
    )
    work = joblib.delayed(measure_part)
    parts = pool(work(images[start : start + PATCHES_PER_PART]) for start in starts)
    bar = {"total": len(starts), "unit": "k patches", "mininterval": 5, "disable": None}
    return pd.concat(tqdm(parts, desc="measure", **bar), ignore_index=True)


def measure_part(images):
    """`measure_patches` of some patches."""
    small = shrink(images)
    table = pd.DataFrame({"brightness": small.mean(axis=(1, 2, 3))})
    is_dark = small.max(axis=(1, 2, 3)) <= DARK
    table["tissue"] = (small.min(axis=3) < TRANSPARENT).mean(axis=(1, 2))
    table["blank"] = np.select(
        [is_dark, table["tissue"] == 0, table["tissue"] < EMPTY],
        ["black", "white", "near-empty"],
        "",
    )
    table["hash"] = hash_patches(small.mean(axis=3))
    density = -np.log((small + 1) / 256)
    for channel, name in enumerate(("red", "green", "blue")):
        table[name] = density[..., channel].mean(axis=(1, 2))
    return table


def shrink(images):
    """Patches as float32 thumbnails (n, 32, 32, 3): means of 3x3 pixels."""
    step = IMAGE_SHAPE[0] // THUMBNAIL
    sums = sum(
        images[:, row::step, column::step].astype("uint16")
        for row in range(step)
        for column in range(step)
    )
    return sums.astype("float32") / step**2


def hash_patches(grey):
    """Perceptual hashes: 64 low frequencies, each above their median or not.

    The pHash of Zauner (2010), on thumbnails. Compression, brightness and a little
    noise change few of its bits.

    Args:
        grey: float array (n, 32, 32).

    Returns:
        uint64 array (n,).
    """
    waves = dctn(grey, axes=(1, 2))[:, :HASH_SIDE, :HASH_SIDE].reshape(len(grey), -1)
    bits = waves > np.median(waves, axis=1, keepdims=True)
    return np.packbits(bits, axis=1).view(">u8").astype("uint64")[:, 0]


def measure_hue(patches):
    """Optical density of red and of blue as a share of green's: float array (n, 2)."""
    return patches[["red", "blue"]].to_numpy() / patches[["green"]].to_numpy()


def cluster_hues(hues):
    """Two clusters, as Camelyon16 has laboratories, of hues (n, 2): int array (n,)."""
    scaled = StandardScaler().fit_transform(hues)
    return KMeans(2, n_init=10, random_state=0).fit_predict(scaled)


def find_twins(images, table):
    """Pairs of patches that show the same: exact copies and near duplicates.

    Candidates are pairs whose perceptual hashes differ in at most 3 of 64 bits; of
    these, the ones whose thumbnails correlate to 0.97. Blank patches have no pairs.

    Args:
        images: uint8 array (n, 96, 96, 3).
        table: DataFrame, as `measure_patches` returns it.

    Returns:
        DataFrame with columns first, second (positions, first < second), distance
        (bits), correlation and exact (bool: the same pixels), the nearest first.
    """
    stained = np.flatnonzero(table["blank"] == "")
    hashes = table["hash"].to_numpy()[stained]
    pairs = stained[pair_up(hashes)]
    hashes = table["hash"].to_numpy()
    distances = np.bitwise_count(hashes[pairs[:, 0]] ^ hashes[pairs[:, 1]])
    twins = pd.DataFrame(pairs, columns=["first", "second"])
    twins["distance"] = distances.astype(int)
    parts = [
        compare(images, pairs[start : start + PATCHES_PER_PART])
        for start in range(0, len(pairs), PATCHES_PER_PART)
    ]
    parts = np.concatenate([np.zeros((0, 2)), *parts])
    twins["correlation"], twins["exact"] = parts[:, 0], parts[:, 1] == 1
    twins = twins.loc[twins["correlation"] >= LOWEST_CORRELATION]
    order = ["exact", "distance", "first", "second"]
    return twins.sort_values(order, ascending=[False, True, True, True])


def compare(images, pairs):
    """Of each pair the correlation of its grey thumbnails, and whether it is exact."""
    first, second = (images[pairs[:, side]] for side in (0, 1))
    exact = (first == second).all(axis=(1, 2, 3))
    grey = [
        shrink(part).mean(axis=3).reshape(len(part), -1) for part in (first, second)
    ]
    centred = [part - part.mean(axis=1, keepdims=True) for part in grey]
    norms = [np.linalg.norm(part, axis=1) for part in centred]
    products = (centred[0] * centred[1]).sum(axis=1)
    return np.stack([products / np.maximum(norms[0] * norms[1], 1e-6), exact], axis=1)


def pair_up(hashes):
    """All pairs of hashes that differ in at most 3 bits: int array (m, 2).

    Such a pair agrees in one of four bands of 16 bits, so that only hashes that share
    a band are compared.
    """
    bits = 64 // HASH_BANDS
    found = [np.zeros((0, 2), int)]
    for band in range(HASH_BANDS):
        keys = (hashes >> np.uint64(band * bits)) & np.uint64(2**bits - 1)
        order = np.argsort(keys, kind="stable")
        for gap in itertools.count(1):  # neighbours in the order, then one apart, ...
            first, second = order[:-gap], order[gap:]
            same = keys[first] == keys[second]
            if not same.any():
                break
            first, second = first[same], second[same]
            near = np.bitwise_count(hashes[first] ^ hashes[second]) <= LARGEST_DISTANCE
            found.append(np.stack([first[near], second[near]], axis=1))
    return np.unique(np.sort(np.concatenate(found), axis=1), axis=0)


def find_unwanted(clean, ids, labels, table, twins):
    """The patches that cleaning leaves out.

    Args:
        clean: names of what goes: "blank", the black and the white patches;
            "duplicates", of which the first by id stays, or none where the labels of
            the copies contradict each other.
        ids: array (n,) of str.
        labels: int array (n,) of 0 and 1.
        table, twins: as `measure_patches` and `find_twins` return them.

    Returns:
        dict by name in `clean`: sorted positions, int array.
    """
    unwanted = {}
    if "blank" in clean:
        unwanted["blank"] = np.flatnonzero(table["blank"].isin(["black", "white"]))
    if "duplicates" in clean:
        groups = group_twins(len(ids), twins)
        frame = pd.DataFrame({"group": groups, "id": ids, "label": labels})
        by_group = frame.groupby("group")
        is_first = frame["id"] == by_group["id"].transform("min")
        conflicts = by_group["label"].transform("nunique") > 1
        unwanted["duplicates"] = np.flatnonzero(~is_first | conflicts)
    return unwanted


def group_twins(num_patches, twins):
    """The group of every patch: twins, and twins of twins, share one: int array."""
    edges = (np.ones(len(twins)), (twins["first"], twins["second"]))
    graph = coo_array(edges, shape=(num_patches, num_patches))
    return connected_components(graph, directed=False)[1]
