"""Gated recurrent units of K runs, their way back through time derived by hand.

Every direction of every run is a group: G = K · directions, and all groups take a step in time at once. In a direction
that reads from the end, step 0 is the last of the series.
"""

import torch
from torch import Tensor

from models.spec.layout import Recurrence
from worker.training.layers import Multiply, logistic


class GatedRecurrence:
    """h ← n + z (h − n) with the gates r, z and the candidate n, as torch.nn.GRU has them (Cho et al. 2014).

    r = σ(Wᵣ x + Uᵣ h), z = σ(W_z x + U_z h), n = tanh(Wₙ x + r Uₙ h), each with its biases. Weights and gradient are
    views (K, D, inputs + 1, 3 hidden) for W and (K, D, hidden + 1, 3 hidden) for U, gates side by side in this order.
    Inputs (K, B, channels · length + 1), channel by channel; outputs (K, B, length · D · hidden + 1), step by step.
    """

    def __init__(
        self,
        shape: Recurrence,
        weights: tuple[Tensor, Tensor],
        gradients: tuple[Tensor, Tensor] | None,
        rows: int,
        multiply: Multiply,
    ) -> None:
        self._shape, self._weights, self._gradients, self._multiply = shape, weights, gradients, multiply
        runs, directions, hidden, like = len(weights[0]), shape.directions, shape.hidden, weights[0]
        groups, length = runs * directions, shape.length
        self._sizes = (runs, directions, rows)
        self._w = like.new_empty(groups, shape.inputs + 1, 3 * hidden)
        self._u = like.new_empty(groups, hidden + 1, 3 * hidden)
        self._inputs = like.new_ones(groups, length * rows, shape.inputs + 1)
        self._from_inputs = like.new_empty(groups, length * rows, 3 * hidden)
        self._from_states = like.new_empty(length, groups, rows, 3 * hidden)
        self._gates = like.new_empty(length, groups, rows, 2 * hidden)
        self._candidates = like.new_empty(length, groups, rows, hidden)
        self._states = like.new_ones(length + 1, groups, rows, hidden + 1)
        self._states[0, ..., :-1] = 0
        self._difference = like.new_empty(groups, rows, hidden)
        self._outputs = like.new_ones(runs, rows, length * directions * hidden + 1)
        if gradients is None:
            return
        # Two columns at least: a product with one takes another kernel for one group than for several.
        self._u_transposed = self._u[:, : max(2, hidden)].mT
        self._back = like.new_empty(groups, rows, max(2, hidden))
        self._carried = like.new_empty(groups, rows, hidden)
        self._output_gradient = like.new_empty(length, groups, rows, hidden)
        self._states_gradient = torch.empty_like(self._from_states)
        self._inputs_gradient = torch.empty_like(self._from_states)

    def forward(self, inputs: Tensor) -> Tensor:
        hidden = self._shape.hidden
        for packed, weight in zip((self._w, self._u), self._weights, strict=True):
            packed.view(weight.shape).copy_(weight)
        self._lay_out(inputs)
        self._multiply(self._inputs, self._w, self._from_inputs)
        steps = torch.unflatten(self._from_inputs, 1, (self._shape.length, -1)).unbind(1)
        for step, from_input in enumerate(steps):
            state, from_state = self._states[step], self._from_states[step]
            gates, candidate = self._gates[step], self._candidates[step]
            self._multiply(state, self._u, from_state)
            torch.add(from_input[..., : 2 * hidden], from_state[..., : 2 * hidden], out=gates)
            logistic(gates, gates)
            reset, keep = gates[..., :hidden], gates[..., hidden:]
            torch.addcmul(from_input[..., 2 * hidden :], reset, from_state[..., 2 * hidden :], out=candidate)
            candidate.tanh_()
            torch.sub(state[..., :-1], candidate, out=self._difference)
            torch.addcmul(candidate, keep, self._difference, out=self._states[step + 1][..., :-1])
        self._collect()
        return self._outputs

    def _lay_out(self, inputs: Tensor) -> None:
        runs, directions, rows = self._sizes
        series = torch.unflatten(inputs[..., :-1], 2, (self._shape.inputs, self._shape.length)).permute(0, 3, 1, 2)
        laid_out = self._inputs.view(runs, directions, self._shape.length, rows, -1)[..., :-1]
        laid_out[:, 0] = series
        if directions == 2:
            laid_out[:, 1] = series.flip(1)

    def _by_direction(self, steps: Tensor) -> Tensor:
        """Of (length, G, B, hidden) the view (D, K, B, length, hidden)."""
        runs, directions, _ = self._sizes
        return torch.unflatten(steps, 1, (runs, directions)).permute(2, 1, 3, 0, 4)

    def _by_step(self, rows: Tensor) -> Tensor:
        """Of (K, B, length · D · hidden) the view (D, K, B, length, hidden)."""
        return torch.unflatten(rows, 2, (self._shape.length, self._shape.directions, -1)).permute(3, 0, 1, 2, 4)

    def _collect(self) -> None:
        states, outputs = self._by_direction(self._states[1:, ..., :-1]), self._by_step(self._outputs[..., :-1])
        outputs[0] = states[0]
        if self._shape.directions == 2:
            outputs[1] = states[1].flip(2)

    def backward(self, gradient: Tensor) -> Tensor | None:
        assert self._gradients is not None
        hidden = self._shape.hidden
        given, wanted = self._by_step(gradient), self._by_direction(self._output_gradient)
        wanted[0] = given[0]
        if self._shape.directions == 2:
            wanted[1] = given[1].flip(2)
        reset, keep = self._gates[..., :hidden], self._gates[..., hidden:]
        # What each step multiplies its gradient with, for all steps at once.
        of_keep = (self._states[:-1, ..., :-1] - self._candidates).mul_(keep).mul_(1 - keep)
        of_candidate = (1 - self._candidates * self._candidates).mul_(1 - keep)
        of_reset = (1 - reset).mul_(reset).mul_(self._from_states[..., 2 * hidden :])
        self._carried.zero_()
        for step in reversed(range(self._shape.length)):
            slope = self._output_gradient[step].add_(self._carried)
            back = self._states_gradient[step]
            candidate = self._inputs_gradient[step][..., 2 * hidden :]
            torch.mul(slope, of_keep[step], out=back[..., hidden : 2 * hidden])
            torch.mul(slope, of_candidate[step], out=candidate)
            torch.mul(candidate, of_reset[step], out=back[..., :hidden])
            torch.mul(candidate, reset[step], out=back[..., 2 * hidden :])
            self._multiply(back, self._u_transposed, self._back)
            torch.addcmul(self._back[..., :hidden], slope, keep[step], out=self._carried)
        self._inputs_gradient[..., : 2 * hidden] = self._states_gradient[..., : 2 * hidden]
        of_w, of_u = self._gradients
        w, u = torch.empty_like(self._w), torch.empty_like(self._u)
        self._multiply(self._inputs.mT, _by_group(self._inputs_gradient), w)
        self._multiply(_by_group(self._states[:-1]).mT, _by_group(self._states_gradient), u)
        of_w.copy_(w.view(of_w.shape))
        of_u.copy_(u.view(of_u.shape))
        return None


def _by_group(steps: Tensor) -> Tensor:
    """From (length, G, B, n) to (G, length · B, n)."""
    return steps.transpose(0, 1).flatten(1, 2)
