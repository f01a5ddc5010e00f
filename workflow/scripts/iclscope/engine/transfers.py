"""Arrays on their way to a device and back, which the processor does not wait for where that is a GPU."""

import numpy as np
import torch


def sent(device: torch.device, values: np.ndarray) -> torch.Tensor:
    """`values` on `device`. What is sent to a GPU goes when it has done what it was asked for before."""
    tensor = torch.from_numpy(np.ascontiguousarray(values))
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)


class Arriving:
    """Values that a device is asked for: a GPU sends them once they are computed, whatever it is asked for next."""

    def __init__(self, values: torch.Tensor) -> None:
        self._event: torch.cuda.Event | None = None
        self._host = values
        if values.is_cuda:
            self._host = torch.empty(values.shape, dtype=values.dtype, pin_memory=True)
            self._host.copy_(values, non_blocking=True)
            self._event = torch.cuda.Event()
            self._event.record(torch.cuda.current_stream(values.device))

    def numpy(self) -> np.ndarray:
        """The values in float64, which not every device knows, as soon as they are here."""
        if self._event is not None:
            self._event.synchronize()
        return self._host.cpu().double().numpy()
