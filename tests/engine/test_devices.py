"""Devices are found by name, and one that is not there is never replaced by another."""

import pytest

from evaluator.engine.devices import cpu, cuda_devices, find_device
from evaluator.errors import InputError, UnavailableError


def test_the_processor_says_its_model_and_instruction_set() -> None:
    device = find_device("cpu")
    assert device == cpu()
    assert device.model
    assert device.details


@pytest.mark.parametrize("name", ["gpu", "cuda:x", "CPU", "", "cuda:-1"])
def test_a_name_that_is_none_is_refused(name: str) -> None:
    with pytest.raises(InputError, match="There is no device"):
        find_device(name)


def test_a_gpu_that_is_not_there_is_an_error() -> None:
    with pytest.raises(UnavailableError, match=r"cuda:63 was asked for, but this machine has"):
        find_device("cuda:63")


@pytest.mark.skipif(not cuda_devices(), reason="this machine has no CUDA device")
@pytest.mark.gpu
def test_a_gpu_says_its_model_and_driver() -> None:
    import torch

    device = find_device("cuda")
    assert device.name == "cuda:0"
    assert device.model == torch.cuda.get_device_name(0)
    assert "driver" in device.details
