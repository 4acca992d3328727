#!/bin/sh
# Builds the kernels for aarch64 and runs their tests in QEMU, from any other processor.
#
#   tools/aarch64.sh FOLDER [PYTEST ARGUMENT...]
#
# Needs Debian with g++-aarch64-linux-gnu, qemu-user, cmake, ninja and pip. FOLDER gets Debian's Python
# for arm64 (nothing of the system changes), packages and the build; it is used again the next time.
# All the tests take an hour or more: name some, for example
# `tools/aarch64.sh build/aarch64 tests/kernels/test_formulas.py`.
set -eu
mkdir -p "$1"
folder=$(cd "$1" && pwd)
root=$folder/root
shift
cd "$(dirname "$0")/.."

if ! [ -e "$folder/ready" ]; then
  mkdir -p "$folder/apt/lists/partial" "$folder/apt/archives/partial"
  : > "$folder/apt/status"
  arm64() {
    apt-get -q -o APT::Architecture=arm64 -o APT::Architectures::=arm64 \
      -o Dir::State::lists="$folder/apt/lists" -o Dir::State::status="$folder/apt/status" \
      -o Dir::Cache="$folder/apt" "$@"
  }
  arm64 update
  arm64 install -y --download-only --no-install-recommends python3-minimal libpython3-dev libstdc++6
  for package in "$folder"/apt/archives/*.deb; do dpkg-deb -x "$package" "$root"; done
  # Python finds itself, its packages and, for subprocesses, this file.
  cat > "$folder/python" <<END
#!/bin/sh
export PYTHONHOME='$root/usr' PYTHONPATH='$folder/packages' PYTHONDONTWRITEBYTECODE=1
exec qemu-aarch64 -0 '$folder/python' -L '$root' '$root/usr/bin/python3' "\$@"
END
  chmod +x "$folder/python"
  version=$("$folder/python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
  python3 -m pip install --quiet --target "$folder/packages" --python-version "$version" \
    --only-binary :all: --platform manylinux_2_28_aarch64 --platform manylinux_2_27_aarch64 \
    --platform manylinux2014_aarch64 "pybind11>=2.13" "numpy>=1.26" ml_dtypes "pytest>=8.1"
  touch "$folder/ready"
fi

cmake -S . -B "$folder/build" -G Ninja -DCMAKE_SYSTEM_NAME=Linux -DCMAKE_SYSTEM_PROCESSOR=aarch64 \
  -DCMAKE_CXX_COMPILER=aarch64-linux-gnu-g++ -DCMAKE_CXX_FLAGS="-idirafter $root/usr/include" \
  -DCMAKE_COMPILE_WARNING_AS_ERROR=ON -DPython_EXECUTABLE="$folder/python" \
  -DPython_INCLUDE_DIR="$(echo "$root"/usr/include/python3.*)" \
  -DFASTW2V_TENSORFLOW=OFF -DFASTW2V_CUDA=OFF
cmake --build "$folder/build"
[ $# -gt 0 ] || set -- tests/kernels --ignore=tests/kernels/cuda
FASTW2V_KERNELS=$(ls "$folder"/build/fastw2v/_kernels*.so) exec "$folder/python" -m pytest "$@"
