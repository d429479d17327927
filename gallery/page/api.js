// What the farm is asked: calls, and events as they come.
export class Refused extends Error {
  constructor(status, text) {
    super(text);
    this.status = status;
  }
}

export async function api(path, body) {
  const changes = body !== undefined;
  const response = await fetch(`/api/${path}`, {
    method: changes ? 'POST' : 'GET',
    headers: changes ? { 'X-Tiltshift': '1', 'Content-Type': 'application/json' } : {},
    body: changes ? JSON.stringify(body) : undefined,
  });
  const answer = await response.json().catch(() => ({}));
  if (response.ok) return answer;
  if (response.status === 401 && path !== 'login') dispatchEvent(new Event('signed-out'));
  if (response.status === 503) dispatchEvent(new Event('trouble'));
  throw new Refused(response.status, answer.error || `the farm answered ${response.status}`);
}

// Events while the page is looked at: a tab behind others holds no connection. Returns what ends it.
export function live(path, on) {
  let source = null, over = false;
  const open = () => {
    if (over || source || document.hidden) return;
    source = new EventSource(`/api/${path}`);
    for (const [event, see] of Object.entries(on))
      source.addEventListener(event, (message) => see(JSON.parse(message.data)));
    source.addEventListener('gone', () => { close(); dispatchEvent(new Event('signed-out')); });
    source.addEventListener('end', () => close());
    source.addEventListener('trouble', () => dispatchEvent(new Event('trouble')));
    source.addEventListener('error', () => {
      if (source?.readyState !== EventSource.CLOSED) return;  // else it tries again by itself
      close();
      setTimeout(open, 3000);
      api('me').then((me) => me.signed_in || dispatchEvent(new Event('signed-out')), () => {});
    });
  };
  const close = () => { source?.close(); source = null; };
  const look = () => (document.hidden ? close() : open());
  document.addEventListener('visibilitychange', look);
  open();
  return () => { over = true; close(); document.removeEventListener('visibilitychange', look); };
}

export const picture = (job, index, side) => `/api/jobs/${job}/pictures/${index}${side ? `?side=${side}` : ''}`;

// As many pixels as a tile has on this screen, of few sizes, so that they are kept.
export const tileSide = () => (devicePixelRatio > 1.3 ? 384 : 256);
