// Pictures of a <video> to what the model takes, as videoswin's Preprocessing does it.

const STAMPS = 17;
const PATIENCE_MS = 20_000; // of a machine that is busy; a short video ends before

/** Frames a second of a video that is loaded, from the stamps of some that are played; null where the browser tells none. */
export async function frameRate(video) {
  if (!video.requestVideoFrameCallback) return null;
  const stamps = [];
  video.playbackRate = 0.5; // fewer frames are left out
  await video.play();
  await new Promise((resolve) => {
    const stop = setTimeout(resolve, PATIENCE_MS);
    const take = (now, { mediaTime }) => {
      stamps.push(mediaTime);
      if (stamps.length < STAMPS) video.requestVideoFrameCallback(take);
      else {
        clearTimeout(stop);
        resolve();
      }
    };
    video.addEventListener("ended", resolve, { once: true });
    video.requestVideoFrameCallback(take);
  });
  video.pause();
  video.playbackRate = 1;
  return rateOf(stamps);
}

/** Frames a second by the times at which some of them stand. A slow machine leaves frames out, and the times are rounded: the
 * smallest gap is one frame, any other a whole number of them, and the rate is that of all together. */
export function rateOf(stamps) {
  const gaps = stamps.slice(1).map((stamp, at) => stamp - stamps[at]).filter((gap) => gap > 0.001);
  if (!gaps.length) return null;
  const least = Math.min(...gaps);
  const frames = gaps.reduce((sum, gap) => sum + Math.round(gap / least), 0);
  return frames / gaps.reduce((sum, gap) => sum + gap, 0);
}

const halfToEven = (value) => (Math.abs(value % 1) === 0.5 ? 2 * Math.round(value / 2) : Math.round(value));

/** Times in seconds of the frames of one clip, the middle one of a video, as videoswin's sampling chooses them. */
export function clipTimes(facts, duration, rate) {
  const { clip_len: frames, sampling, frame_interval: interval, fps } = facts.preprocessing;
  const numbers = [...Array(frames).keys()];
  if (sampling === "time") {
    const start = Math.max(0, (duration - frames / fps) / 2);
    return numbers.map((k) => (start + (k + 0.5) / fps) % duration);
  }
  const count = Math.max(1, Math.round(duration * rate));
  let chosen;
  if (sampling === "uniform") {
    const edge = (k) => halfToEven((k * (count - 1)) / frames);
    chosen = numbers.map((k) => edge(k) + Math.floor((edge(k + 1) - edge(k)) / 2));
  } else {
    const room = count - frames * interval + 1;
    const first = room > 0 ? Math.floor(room / 2) : 0;
    chosen = numbers.map((k) => (first + k * interval) % count);
  }
  return chosen.map((frame) => (frame + 0.5) / rate); // the middle of a frame's time: rounding must not show its neighbour
}

/** Height and width that a picture is resized to before it is cropped. */
function resizedShape(facts, height, width) {
  const { size, short_side: short } = facts.preprocessing;
  if (short === null) return size;
  const scale = short / Math.min(height, width);
  return [Math.floor(height * scale + 0.5), Math.floor(width * scale + 0.5)];
}

/** Weights of a triangle filter, widened when shrinking (antialias), for one direction. */
function taps(from, to, antialias) {
  const scale = from / to;
  const support = antialias ? Math.max(1, scale) : 1;
  return [...Array(to).keys()].map((place) => {
    const centre = (place + 0.5) * scale;
    const first = Math.max(0, Math.floor(centre - support + 0.5));
    const last = Math.min(from, Math.floor(centre + support + 0.5));
    const weights = [];
    for (let at = first; at < last; at++) weights.push(Math.max(0, 1 - Math.abs((at + 0.5 - centre) / support)));
    const sum = weights.reduce((a, b) => a + b, 0);
    return [first, weights.map((weight) => weight / sum)];
  });
}

/** RGBA bytes (height x width) to RGB bytes of the resized picture; each direction is rounded, as in PyTorch. */
export function resize(rgba, height, width, newHeight, newWidth, antialias) {
  const across = taps(width, newWidth, antialias);
  const wide = new Uint8ClampedArray(height * newWidth * 3);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < newWidth; x++) {
      const [first, weights] = across[x];
      for (let c = 0; c < 3; c++) {
        let sum = 0;
        for (let k = 0; k < weights.length; k++) sum += weights[k] * rgba[(y * width + first + k) * 4 + c];
        wide[(y * newWidth + x) * 3 + c] = sum;
      }
    }
  }
  const down = taps(height, newHeight, antialias);
  const small = new Uint8ClampedArray(newHeight * newWidth * 3);
  for (let y = 0; y < newHeight; y++) {
    const [first, weights] = down[y];
    for (let x = 0; x < newWidth * 3; x++) {
      let sum = 0;
      for (let k = 0; k < weights.length; k++) sum += weights[k] * wide[(first + k) * newWidth * 3 + x];
      small[y * newWidth * 3 + x] = sum;
    }
  }
  return small;
}

/** The picture that a <video> shows now, resized and cropped: RGB bytes (size). */
export function grab(video, canvas, facts) {
  const { size, antialias } = facts.preprocessing;
  canvas.width = video.videoWidth;
  canvas.height = video.videoHeight;
  const pen = canvas.getContext("2d", { willReadFrequently: true });
  pen.drawImage(video, 0, 0);
  const { data } = pen.getImageData(0, 0, canvas.width, canvas.height);
  const [height, width] = resizedShape(facts, canvas.height, canvas.width);
  const picture = resize(data, canvas.height, canvas.width, height, width, antialias);
  const top = Math.floor((height - size[0]) / 2);
  const left = Math.floor((width - size[1]) / 2);
  const cropped = new Uint8ClampedArray(size[0] * size[1] * 3);
  for (let y = 0; y < size[0]; y++) {
    const from = ((top + y) * width + left) * 3;
    cropped.set(picture.subarray(from, from + size[1] * 3), y * size[1] * 3);
  }
  return cropped;
}

/** RGB bytes of all frames to normalised floats (1, 3, T, H, W). */
export function toClip(pictures, facts) {
  const { mean, std, size } = facts.preprocessing;
  const pixels = size[0] * size[1];
  const clip = new Float32Array(3 * pictures.length * pixels);
  for (let c = 0; c < 3; c++) {
    pictures.forEach((picture, t) => {
      const base = (c * pictures.length + t) * pixels;
      for (let p = 0; p < pixels; p++) clip[base + p] = (picture[p * 3 + c] - mean[c]) / std[c];
    });
  }
  return clip;
}
