"""Logistic regression on the device, all penalties at once."""

import dataclasses
from collections.abc import Iterator

import keras
import numpy as np
from keras import layers, ops
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedKFold

from ..data.folds import Split
from ..system.progress import beat

STRENGTHS = (1e-5, 1e-4, 1e-3, 1e-2, 1e-1)  # 1 / L2 penalty, chosen within training
INNER_FOLDS = 3
ROWS_PER_BATCH = 8192  # 100 MB of 3,072 features in float32
MAX_STEPS = 500  # 12 to 40 are usual
TOLERANCE = 1e-4  # of the gradient, in coordinates in which no second derivative exceeds 1
SMALLEST = 1e-4  # eigenvalue: below it, those of float32 products are noise


@dataclasses.dataclass(frozen=True)
class Problem:
    """Rows of features to learn from, and coordinates for `minimize`.

    `features` is a float16 array (n, dim), `rows` an int array (m,), `labels` an array (m,) of
    0 and 1, and `scale` standardizes features by these rows. The columns of `basis`, float64
    (dim + 1, dim + 1), are the eigenvectors of the correlations of the features, and the
    intercept; `eigenvalues` is (dim + 1,).
    """

    features: np.ndarray
    rows: np.ndarray
    labels: np.ndarray
    scale: layers.Normalization
    basis: np.ndarray
    eigenvalues: np.ndarray


def fit_regression(features: np.ndarray, labels: np.ndarray, split: Split) -> keras.Model:
    """Fit logistic regression to standardized features.

    The L2 penalty is the one with the best mean ROC AUC in 3-fold cross-validation within the
    training rows, as in scikit-learn's LogisticRegressionCV. All columns are fitted at once:
    four per penalty, of which the last holds out no fold.

    Args:
        features: float16 array (n, dim), may be memory-mapped.
        labels: int array (n,) of 0 and 1.
        split: the training rows, the random seed of the inner folds and the name in the log.

    Returns:
        keras.Model: float32 (b, dim) -> float32 (b, 1).
    """
    truth, numbers = labels[split.train], np.arange(INNER_FOLDS + 1)
    inner = np.zeros(len(truth), int)
    splitter = StratifiedKFold(INNER_FOLDS, shuffle=True, random_state=split.seed)
    for number, (_, held_out) in enumerate(splitter.split(truth, truth)):
        inner[held_out] = number
    is_used = np.tile(inner[:, None] != numbers, len(STRENGTHS))
    problem = precondition(features, split.train, truth)
    weights = minimize(problem, is_used, np.repeat(STRENGTHS, len(numbers)), split.name)
    scores = score_columns(problem, weights, inner)
    best = int(scores.argmax())
    score = f"AUC {scores[best]:.4f} in cross-validation within the training folds"
    print(f"{split.name} C={STRENGTHS[best]:g}: {score}", flush=True)
    chosen = weights[:, best * len(numbers) + INNER_FOLDS]
    last = layers.Dense(1, activation="sigmoid", dtype="float32")
    head = keras.Sequential([keras.Input(features.shape[1:]), problem.scale, last])
    last.set_weights([chosen[:-1, None], chosen[-1:]])
    return head


def score_columns(problem: Problem, weights: np.ndarray, inner: np.ndarray) -> np.ndarray:
    """The ROC AUC of each penalty, averaged over the held-out inner folds.

    Args:
        problem: Problem.
        weights: as `minimize` returns them.
        inner: int array (m,), the inner fold of each row.
    """
    logits = [
        ops.convert_to_numpy(ops.matmul(block, weights[:-1]))[:size]  # no intercept: ranks only
        for _, size, block in standardized(problem.features, problem.rows, problem.scale)
    ]
    logits = np.concatenate(logits).reshape(len(inner), len(STRENGTHS), INNER_FOLDS + 1)
    scores = np.zeros((len(STRENGTHS), INNER_FOLDS))
    for choice, number in np.ndindex(scores.shape):
        rows = inner == number
        scores[choice, number] = roc_auc_score(problem.labels[rows], logits[rows, choice, number])
    return scores.mean(axis=1)


def precondition(features: np.ndarray, rows: np.ndarray, labels: np.ndarray) -> Problem:
    """Measure the features and their correlations."""
    scale = make_scale(features, rows)
    correlations = np.zeros((features.shape[1],) * 2)
    for _, size, block in standardized(features, rows, scale):
        products = ops.matmul(ops.transpose(block[:size]), block[:size])
        correlations += ops.convert_to_numpy(products) / len(rows)
    eigenvalues, basis = np.linalg.eigh(correlations)
    eigenvalues = np.append(np.maximum(eigenvalues, SMALLEST), 1)
    basis = np.pad(basis, (0, 1))
    basis[-1, -1] = 1  # the intercept, which standardized features do not correlate with
    return Problem(features, rows, labels, scale, basis, eigenvalues)


def minimize(
    problem: Problem, is_used: np.ndarray, strengths: np.ndarray, name: str = ""
) -> np.ndarray:
    """Minimize the mean log-loss plus the penalty of each column.

    The second derivatives of the loss are at most a quarter of the correlations (Boehning and
    Lindsay 1988). In coordinates in which this bound is 1, accelerated gradient descent with
    restarts (O'Donoghue and Candes 2015) takes steps of length 1, without a line search.

    Args:
        problem: Problem.
        is_used: bool array (m, k), the rows that each column learns from.
        strengths: float array (k,), scikit-learn's C: 1 / L2 penalty.
        name: starts the warning if MAX_STEPS are not enough.

    Returns:
        float32 array (dim + 1, k): the weights of the standardized features, the intercept.
    """
    counts = is_used.sum(axis=0)
    penalties = np.tile(1 / (strengths * counts), (len(problem.basis), 1))
    penalties[-1] = 0
    # A column's sum over some rows is at most that over all rows.
    bounds = len(is_used) / counts * problem.eigenvalues[:, None] / 4 + penalties
    units = bounds**-0.5
    point = ahead = np.zeros_like(units)
    momentum = np.ones(len(counts))
    for _ in range(MAX_STEPS):
        weights = problem.basis @ (units * ahead)
        gradients = sum_gradients(problem, is_used, weights) / counts + penalties * weights
        gradient = units * (problem.basis.T @ gradients)
        largest = np.abs(gradient).max()
        if largest < TOLERANCE:
            break
        step = ahead - gradient - point
        point = point + step
        restarts = (gradient * step).sum(axis=0) > 0
        before = np.where(restarts, 1, momentum)
        momentum = (1 + np.sqrt(1 + 4 * before**2)) / 2
        ahead = point + (before - 1) / momentum * step
    else:
        print(f"warning: {name}: after {MAX_STEPS} steps the largest slope is {largest:.1g}")
    return weights.astype("float32")


def sum_gradients(problem: Problem, is_used: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The gradient of the summed log-loss of each column: float64 array (dim + 1, k)."""
    kernel, intercept = weights[:-1].astype("float32"), weights[-1].astype("float32")
    total = np.zeros_like(weights)
    for start, size, block in standardized(problem.features, problem.rows, problem.scale):
        used = np.zeros((len(block), len(intercept)), "float32")  # 0 for the filling
        truth = np.zeros((len(block), 1), "float32")
        used[:size] = is_used[start : start + size]
        truth[:size, 0] = problem.labels[start : start + size]
        errors = (ops.sigmoid(ops.matmul(block, kernel) + intercept) - truth) * used
        gradients = ops.matmul(ops.transpose(errors), block)  # transposing `block` takes longer
        total[:-1] += ops.convert_to_numpy(gradients).T
        total[-1] += ops.convert_to_numpy(ops.sum(errors, axis=0))
    return total


def standardized(features: np.ndarray, rows: np.ndarray, scale: layers.Layer) -> Iterator:
    """Yield what `whole_batches` does, as float32 tensors of standardized features."""
    for start, size, block in whole_batches(features, rows):
        yield start, size, scale(ops.cast(ops.convert_to_tensor(block), "float32"))


def whole_batches(features: np.ndarray, rows: np.ndarray) -> Iterator:
    """Yield the start, size and features of batches of equal length.

    The last one is filled up with rows that count for nothing, since each shape costs a
    compilation.
    """
    length = min(ROWS_PER_BATCH, len(rows))
    for start in range(0, len(rows), ROWS_PER_BATCH):
        beat()
        chosen = rows[start : start + length]
        yield start, len(chosen), features[np.resize(chosen, length)]


def make_scale(features: np.ndarray, rows: np.ndarray) -> layers.Normalization:
    """The layer that standardizes features by their mean and variance over some rows."""
    sums = np.zeros((2, features.shape[1]))
    for _, size, block in whole_batches(features, rows):
        block = block[:size].astype("float64")
        sums += [block.sum(axis=0), (block**2).sum(axis=0)]
    mean, square = sums / len(rows)
    variance = np.maximum(square - mean**2, 0)
    variance[variance == 0] = 1  # a constant feature becomes 0
    return layers.Normalization(mean=mean, variance=variance, dtype="float32")
