"""Golden files of image/: what Pillow, torchvision's formulas and cv2 make of small pictures.

Needs pillow (built with libjpeg-turbo), numpy, cv2; PngSuite in ../shared/data or MCS_TEST_DATA.
Writes, beside this file:
  image_resize.safetensors       resize.FILTER.W.H (bytes), jet, viridis
  image_preprocess.safetensors   clip.*, squash.*, sam.*, map.*
  pictures/*.jpg        small JPEGs of every layout
  pictures.tsv          file, width, height, CRC-32 of convert("RGB") and convert("L") samples
  png_suite.tsv         the same for PngSuite
The picture is noise(width, height), a formula that the C test repeats."""
import glob
import os
import zlib
import cv2
import numpy as np
from PIL import Image
from safetensors.numpy import save_file

HERE = os.path.dirname(os.path.abspath(__file__))
DATA = os.environ.get("MCS_TEST_DATA", os.path.join(HERE, "..", "..", "..", "shared", "data"))
FILTERS = {"nearest": Image.NEAREST, "bilinear": Image.BILINEAR, "bicubic": Image.BICUBIC}


def noise(w, h, channels=3):
    y, x, c = np.meshgrid(np.arange(h), np.arange(w), np.arange(channels), indexing="ij")
    v = (x * 37 + y * 91 + c * 53 + (x * y % 17) * 13) % 256
    return v.astype(np.uint8)


def smooth(w, h):
    y, x, c = np.meshgrid(np.arange(h), np.arange(w), np.arange(3), indexing="ij")
    return (128 + 100 * np.sin(x / 5 + c) * np.cos(y / (4 + c))).astype(np.uint8)


def resize(im, size, f):
    """Horizontal pass first, as Pillow <= 12 always and 13 mostly does."""
    return im.resize(size, f) if f == Image.NEAREST else im.resize((size[0], im.height), f).resize(size, f)


def normalise(a, unit, mean, std):
    """ToTensor and Normalize in float32 steps; (3, h, w)."""
    x = a.astype(np.float32) / np.float32(unit)
    return np.ascontiguousarray(((x - np.float32(mean)) / np.float32(std)).transpose(2, 0, 1))


CLIP = ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))
SAM = ((123.675, 116.28, 103.53), (58.395, 57.12, 57.375))


def clip(w, h, side):
    im = Image.fromarray(noise(w, h))
    short, long = min(w, h), max(w, h)
    new = int(side * long / short)
    nw, nh = (new, side) if w > h else (side, new)
    left, top = int(round((nw - side) / 2.0)), int(round((nh - side) / 2.0))
    im = resize(im, (nw, nh), Image.BICUBIC).crop((left, top, left + side, top + side))
    return normalise(np.array(im), 255, *CLIP)


def sam(w, h, side):
    scale = side * 1.0 / max(w, h)
    nw, nh = int(w * scale + 0.5), int(h * scale + 0.5)
    x = normalise(np.array(resize(Image.fromarray(noise(w, h)), (nw, nh), Image.BILINEAR)), 1, *SAM)
    return np.pad(x, ((0, 0), (0, side - nh), (0, side - nw)))


def resized():
    out = {}
    im = Image.fromarray(noise(37, 23))
    for name, f in FILTERS.items():
        for w, h in [(10, 7), (41, 40), (37, 12), (1, 1), (90, 5), (23, 37)]:
            out["resize.%s.%d.%d" % (name, w, h)] = np.array(resize(im, (w, h), f))
    ramp = np.arange(256, dtype=np.uint8)[:, None]
    out["jet"] = cv2.applyColorMap(ramp, cv2.COLORMAP_JET)[:, 0, ::-1].copy()
    out["viridis"] = cv2.applyColorMap(ramp, cv2.COLORMAP_VIRIDIS)[:, 0, ::-1].copy()
    return out


def preprocessed():
    out = {}
    im = Image.fromarray(noise(37, 23))
    for w, h in [(37, 23), (39, 23), (23, 37), (16, 16), (5, 4)]:
        out["clip.%d.%d" % (w, h)] = clip(w, h, 16)
    out["squash.37.23"] = normalise(np.array(resize(im, (16, 16), Image.BICUBIC)), 255, *CLIP)
    for w, h in [(37, 23), (9, 9)]:
        out["sam.%d.%d" % (w, h)] = sam(w, h, 32)
    for sw, sh, dw, dh in [(7, 5, 31, 23), (31, 23, 7, 5), (14, 14, 14, 14), (1, 1, 3, 2)]:
        m = noise(sw, sh, 1)[:, :, 0].astype(np.float32) / np.float32(255)
        out["map.%d.%d.%d.%d" % (sw, sh, dw, dh)] = cv2.resize(m, (dw, dh), interpolation=cv2.INTER_LINEAR)
    return out


def jpegs():
    folder = os.path.join(HERE, "pictures")
    os.makedirs(folder, exist_ok=True)
    rgb = Image.fromarray(smooth(35, 27))
    exif = Image.Exif()
    exif[0x112] = 6
    for name, im, options in [
            ("grey", rgb.convert("L"), {}), ("444", rgb, {"subsampling": 0}), ("422", rgb, {"subsampling": 1}),
            ("420", rgb, {"subsampling": 2}), ("progressive", rgb, {"progressive": True}),
            ("restarts", rgb, {"restart_marker_blocks": 2}), ("rotated", rgb, {"exif": exif}),
            ("rgb", rgb, {"keep_rgb": True}), ("noise", Image.fromarray(noise(19, 33)), {"quality": 95}),
            ("one", Image.fromarray(noise(1, 1)), {}), ("line", Image.fromarray(noise(300, 1)), {}),
            ("grey_progressive", rgb.convert("L"), {"progressive": True})]:
        im.save(os.path.join(folder, name + ".jpg"), **options)
    return sorted(glob.glob(folder + "/*.jpg"))


def table(name, paths):
    with open(os.path.join(HERE, name), "w") as f:
        for p in paths:
            im = Image.open(p)
            crc = [zlib.crc32(im.convert(m).tobytes()) for m in ("RGB", "L")]
            f.write("%s\t%d\t%d\t%08x\t%08x\n" % (os.path.basename(p), im.width, im.height, *crc))


for name, tensors in ("image_resize", resized()), ("image_preprocess", preprocessed()):
    path = os.path.join(HERE, name + ".safetensors")
    save_file(tensors, path)
    os.chmod(path, 0o644)
    assert os.path.getsize(path) < 65536
table("pictures.tsv", jpegs())
table("png_suite.tsv", sorted(glob.glob(DATA + "/malformed/png/primary/*.png")))
