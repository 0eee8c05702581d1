"""Adam over named parameters (Kingma and Ba 2015), with a state that can be saved."""
from backend import jt


class Adam:
    """Updates the Vars in `parameters` ({name: Var}) in place.

    The arithmetic runs on flat vectors: for Jittor a matrix and a bias are then one kernel to
    compile, not one each. Counting steps from its own making, it is made anew wherever parameters
    join (see schedule.Phase.optimizer_epoch).
    """

    def __init__(self, parameters, lr, betas=(0.0, 0.99), eps=1e-8):
        self.parameters, self.lr, self.betas, self.eps, self.steps = parameters, lr, betas, eps, 0
        self.m, self.v = ({name: jt.zeros(p.numel()).stop_grad() for name, p in parameters.items()}
                          for _ in range(2))

    def step(self, loss):
        """One update along the gradient of `loss`, a Var of one element."""
        self.steps += 1
        beta1, beta2 = self.betas
        size = self.lr * (1 - beta2 ** self.steps) ** 0.5 / (1 - beta1 ** self.steps)
        gradients = jt.grad(loss, list(self.parameters.values()))
        for (name, p), gradient in zip(self.parameters.items(), gradients):
            m, v, g = self.m[name], self.v[name], gradient.reshape(-1)
            m.update(m * beta1 + g * (1 - beta1))
            v.update(v * beta2 + g * g * (1 - beta2))
            flat = p.detach().reshape(-1) - m * size / (jt.sqrt(v) + self.eps)
            p.update(flat.reshape(p.shape))

    def state(self, prefix):
        """{prefix/m/name, prefix/v/name: NumPy array}."""
        return {f"{prefix}/{kind}/{name}": x.numpy()
                for kind, moments in (("m", self.m), ("v", self.v)) for name, x in moments.items()}

    def restore(self, steps, arrays, prefix):
        """Take over what `state` gave, after `steps` steps."""
        self.steps = steps
        for kind, moments in (("m", self.m), ("v", self.v)):
            for name, x in moments.items():
                x.assign(arrays[f"{prefix}/{kind}/{name}"])
