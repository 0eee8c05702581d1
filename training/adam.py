"""Adam over named parameters (Kingma and Ba 2015), which can take a step back, and be saved."""
from backend import jt
from backend.parameters import adam_step, keep

BETA2, EPSILON = 0.99, 1e-8


class Adam:
    """Updates the Vars in `parameters` ({name: Var}) in place, with β₁ = 0 and β₂ = 0.99.

    interval: at every Nth step a term of the loss is added. With c = N / (N + 1) the rate is then
    lr · c and β₂ᶜ, so that as much is learned from N steps as if the term had been a step of its
    own among them (Karras et al. 2019, "Analyzing and Improving the Image Quality of StyleGAN",
    appendix B). None: there is no such term.

    With β₁ = 0 the first moment is the gradient itself, so only the second is kept. A step has two
    halves, so that the discriminator's can be taken back when the generator's goes wrong:
    `propose` writes the new weights and says whether they are sound, `commit` keeps them or puts
    the old ones back. Nothing in it waits for a GPU.

    Jittor keeps an operator that has run, and the memory of all its inputs, as long as one of its
    outputs is held and one of its inputs that has a gradient. What is held between steps (losses,
    whether a step was sound, the weights of before) therefore has none here.

    Counting steps from its own making, it is made anew wherever parameters join (see
    schedule.Phase.optimizer_epoch).
    """

    def __init__(self, parameters, lr, interval=None):
        self.parameters, self.lr = parameters, lr
        self.correction = interval / (interval + 1) if interval else 1
        self.beta2 = BETA2 ** self.correction
        self.steps = jt.zeros(1).stop_grad()
        self.v = {name: jt.zeros(p.shape).stop_grad() for name, p in parameters.items()}

    def gradients(self, terms):
        """[loss, its gradients]: of the sum of `terms`, Vars of one element.

        `terms` is emptied: what a term needed is free before the next one begins.
        """
        parameters = list(self.parameters.values())
        loss, gradients = 0, None
        while terms:
            term = terms.pop(0)
            with jt.no_grad():          # the last gradients: see backend.kernels.Operator
                more = jt.grad(term, parameters)
                loss = loss + term.detach()
                del term
                gradients = [a + b for a, b in zip(gradients, more)] if gradients else more
                del more
            jt.sync([loss, *gradients])
        return [loss, *gradients]

    def propose(self, loss, *gradients):
        """Step along the gradients of a loss, as `gradients` gives them.

        Returns (a Var [1]: 1 where the loss and all gradients are finite, else 0, their norm).
        What is computed of the new weights before `commit` has to be synced before it.
        """
        parameters, moments = list(self.parameters.values()), list(self.v.values())
        size = jt.sqrt(1 - jt.pow(self.beta2, self.steps + 1)) * self.lr * self.correction
        with jt.no_grad():              # else the gradients stay until `commit`
            self.before = [v.detach() for v in parameters + moments]
        new, new_moments, sound, norm = adam_step(
            loss, self.before[:len(parameters)], gradients, self.before[len(parameters):],
            size, self.beta2, EPSILON)
        for v, value in zip(parameters + moments, new + new_moments):
            v.update(value)
        return sound.stop_grad(), norm

    def commit(self, sound):
        """Keep the proposed step where `sound`, a Var [1], is 1; where it is 0 nothing happened."""
        mine = [*self.parameters.values(), *self.v.values()]
        kept = keep(mine, self.before, sound)
        for v, value in zip(mine, kept if kept is not mine else []):
            v.update(value)
        self.steps.update(self.steps + sound)
        self.before = None

    def state(self, prefix):
        """{prefix/steps, prefix/v/name: NumPy array}."""
        return {f"{prefix}/steps": self.steps.numpy()} | {
            f"{prefix}/v/{name}": v.numpy() for name, v in self.v.items()}

    def restore(self, arrays, prefix):
        """Take over what `state` gave."""
        self.steps.assign(arrays[f"{prefix}/steps"])
        for name, v in self.v.items():
            v.assign(arrays[f"{prefix}/v/{name}"].reshape(v.shape))
