// What a visitor likes, by job: kept by this browser alone. A list that two people share would need an
// owner, and a farm token is often shared by a team; what is chosen leaves as a zip or a link.
const key = (job) => `favourites ${job}`;

export function favourites(job) {
  try {
    return new Set(JSON.parse(localStorage.getItem(key(job)) || '[]').map(Number));
  } catch {
    return new Set();
  }
}

export function toggle(job, index) {
  const all = favourites(job);
  if (!all.delete(index)) all.add(index);
  try {
    if (all.size) localStorage.setItem(key(job), JSON.stringify([...all].sort((a, b) => a - b)));
    else localStorage.removeItem(key(job));
  } catch { /* a browser that keeps nothing: it is a favourite until the page goes */ }
  dispatchEvent(new CustomEvent('favourites', { detail: { job, index, liked: all.has(index) } }));
  return all.has(index);
}

// "0-4,9"
export function ranges(indices) {
  const parts = [];
  for (const index of [...indices].sort((a, b) => a - b)) {
    const last = parts[parts.length - 1];
    if (last && last[1] + 1 === index) last[1] = index;
    else parts.push([index, index]);
  }
  return parts.map(([first, last]) => (first === last ? first : `${first}-${last}`)).join(',');
}
