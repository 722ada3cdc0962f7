"""The strongest peer: K networks under vmap, an epoch under scan, all of it compiled."""

import importlib.util
import time
from typing import Any

import numpy as np

from benchmarks.peers import Problem


def has_jax() -> bool:
    return importlib.util.find_spec("jax") is not None


class JaxProgram:
    """Adam on K perceptrons at once; compiled when made, so that its speed is that of the running program alone."""

    def __init__(self, problem: Problem, runs: int) -> None:
        import jax
        import jax.numpy as jnp

        rows, size = len(problem.inputs), problem.batch_rows
        inputs, targets = jnp.asarray(problem.inputs.numpy()), jnp.asarray(problem.targets.numpy())
        classes = targets.dtype != jnp.float32
        self._steps_per_epoch, self._runs = rows // size, runs

        def loss(parameters: Any, x: Any, y: Any) -> Any:
            for weight, bias in parameters[:-1]:
                x = jax.nn.relu(x @ weight + bias)
            outputs = x @ parameters[-1][0] + parameters[-1][1]
            if classes:
                return -jnp.take_along_axis(jax.nn.log_softmax(outputs), y[:, None], 1).mean()
            return jnp.square(outputs - y).mean()

        def update(state: Any, chosen: Any) -> Any:
            parameters, mean, squares, step = state
            value, gradient = jax.value_and_grad(loss)(parameters, inputs[chosen], targets[chosen])
            step = step + 1
            mean = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, mean, gradient)
            squares = jax.tree.map(lambda s, g: 0.999 * s + 0.001 * g * g, squares, gradient)
            first, second = 1 - 0.9**step, 1 - 0.999**step
            parameters = jax.tree.map(
                lambda p, m, s: p - 1e-2 * (m / first) / (jnp.sqrt(s / second) + 1e-8), parameters, mean, squares
            )
            return (parameters, mean, squares, step), value

        def epoch(state: Any, key: Any) -> Any:
            order = jax.random.permutation(key, rows)[: self._steps_per_epoch * size]
            return jax.lax.scan(update, state, order.reshape(self._steps_per_epoch, size))

        def initial(key: Any) -> Any:
            parameters = []
            for i, o in zip(problem.widths, problem.widths[1:], strict=False):
                key, one, two = jax.random.split(key, 3)
                bound = i**-0.5
                weight = jax.random.uniform(one, (i, o), minval=-bound, maxval=bound)
                parameters.append((weight, jax.random.uniform(two, (o,), minval=-bound, maxval=bound)))
            zeros = jax.tree.map(jnp.zeros_like, parameters)
            return parameters, zeros, zeros, jnp.float32(0)

        self._split = jax.jit(lambda key: jax.random.split(key, runs))
        self._key = jax.random.key(0)
        self._state = jax.vmap(initial)(self._split(self._key))
        self._epoch = jax.jit(jax.vmap(epoch))
        self.measure(1)

    def measure(self, steps: int) -> float:
        """Model-steps per second over so many steps of each run, in whole epochs."""
        import jax

        epochs = max(1, steps // self._steps_per_epoch)
        started = time.perf_counter()
        for _ in range(epochs):
            self._key, key = jax.random.split(self._key)
            self._state, losses = self._epoch(self._state, self._split(key))
            assert np.isfinite(np.asarray(losses)).all()
        return self._runs * epochs * self._steps_per_epoch / (time.perf_counter() - started)
