"""Packages of the wheel: the folders of the checkout, all below the name `gridbazaar`."""

from setuptools import find_packages, setup

FOLDERS = ("agents", "configs", "envs", "evaluation", "ledger_sim", "studies")
found = find_packages(include=[f"{folder}*" for folder in FOLDERS])

setup(
    packages=["gridbazaar", *(f"gridbazaar.{name}" for name in found)],
    package_dir={"gridbazaar": "gridbazaar", **{f"gridbazaar.{name}": name for name in FOLDERS}},
)
