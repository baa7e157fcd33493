#!/usr/bin/env bash
# Prepares a TFDS data set as ArrayRecord files and copies it into a bucket, as gs://BUCKET/tfds.
# Usage: bash launch/prepare_data.sh [--dry-run] NAME [--manual_dir=DIR] [--arrays]
#   NAME          like imagenet2012, cifar10 or imagenette/320px-v2
#   --manual_dir  with archives that a licence wants downloaded by hand (DATA_DIR/downloads/manual)
#   --arrays      also writes its splits as .npz files, DATA_DIR/arrays/NAME, which are read without TensorFlow
#                 (config.data.name=arrays); of small images that all have one shape
# Settings: BUCKET; DATA_DIR, where it is prepared (~/tfds): a disk with room for the archives and twice
# the data, or a mounted bucket, and then BUCKET= (empty) copies nothing.
set -euo pipefail

# shellcheck source=launch/environment.sh
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
# shellcheck source=launch/settings.sh
source "$repository/launch/settings.sh"

name=${1:-}
data_dir=${DATA_DIR:-$HOME/tfds}
manual_dir=$data_dir/downloads/manual
arrays=
for argument in "${@:2}"; do
  case $argument in
    --manual_dir=*) manual_dir=${argument#--manual_dir=} ;;
    --arrays) arrays=arrays/$name ;;
    *) problem "$argument: there is no such argument; there are --manual_dir=DIR and --arrays" ;;
  esac
done
case $name in
  "" | -*) problem "the data set's name is missing: bash launch/prepare_data.sh imagenet2012" ;;
  imagenet2012 | imagenet2012:* | imagenet2012_subset*)
    for archive in ILSVRC2012_img_train.tar ILSVRC2012_img_val.tar; do
      [[ -e $manual_dir/$archive ]] || problem "$manual_dir/$archive is missing: its licence wants you" \
        "to download it yourself, from https://image-net.org; --manual_dir names another folder"
    done
    ;;
esac
[[ -n ${BUCKET+set} ]] || problem "BUCKET is not set: the bucket to copy to; BUCKET= for none"
settings_are_right
plain_bucket

make_environment ""
run "$venv/bin/python" launch/prepare_data.py "$name" "$data_dir" "$manual_dir" ${arrays:+"$data_dir/$arrays"}
folder=${name%%[/:]*} # NAME may be folder/config:version
if [[ -n $BUCKET ]]; then
  for part in "$folder" ${arrays:+"$arrays"}; do
    run gcloud storage rsync --recursive "$data_dir/$part" "gs://$BUCKET/tfds/$part"
  done
fi
