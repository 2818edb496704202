"""What machines are: devices that price kernels, memories, links, and the catalogue of hardware with its sources."""

from arch.building import load_device, machine
from arch.cost import CostTable, cost_table
from arch.device import Device
from arch.entry import Entry, Quantity
from arch.entry_file import load_entry
from arch.extension import Extension
from arch.gpu import GPU
from arch.host import Host
from arch.link import HandOver, Link
from arch.machine import Machine
from arch.memory import Memory
from arch.parameter import Parameter
from arch.pim import PIM
from arch.reconfigurable import Reconfigurable
from arch.registered import names
from arch.work import Prices, Refusals, Work

__all__ = [
    "GPU",
    "PIM",
    "CostTable",
    "Device",
    "Entry",
    "Extension",
    "HandOver",
    "Host",
    "Link",
    "Machine",
    "Memory",
    "Parameter",
    "Prices",
    "Quantity",
    "Reconfigurable",
    "Refusals",
    "Work",
    "cost_table",
    "load_device",
    "load_entry",
    "machine",
    "names",
]
