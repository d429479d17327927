// Elements, words and numbers. Text becomes text nodes, never markup.
export function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith('aria-') && value !== null) element.setAttribute(name, value);
    else if (value === undefined || value === null || value === false) continue;
    else if (name.startsWith('on')) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? '' : value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

export const number = (value) => Number(value).toLocaleString('en');

export function duration(seconds) {
  if (!isFinite(seconds)) return '';
  if (seconds < 90) return `${Math.max(1, Math.round(seconds))} s`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min`;
  if (seconds < 172800) return `${(seconds / 3600).toFixed(1)} h`;
  return `${Math.round(seconds / 86400)} days`;
}

export const ago = (unix_ms) => `${duration((Date.now() - Number(unix_ms)) / 1000)} ago`;

export const rate = (value) => (value >= 100 ? value.toFixed(0) : value >= 1 ? value.toFixed(1) : value.toFixed(2));

export function bytes(count) {
  const units = ['bytes', 'kB', 'MB', 'GB', 'TB'];
  let at = 0;
  for (count = Number(count); count >= 1000 && at < 4; at++) count /= 1000;
  return `${at ? count.toFixed(1) : count} ${units[at]}`;
}

// "JOB_STATE_RUNNING", "VARIANT_STATE_FAILED" -> "running", "failed"
export const stateOf = (name) => name.replace(/^(JOB|VARIANT)_STATE_/, '').toLowerCase();

// What `change` makes anew within `root` keeps the focus: on what is in its place, or near it.
export function keepFocus(root, change) {
  const key = (element) => element.getAttribute('href') || element.getAttribute('aria-label') || element.className;
  const had = root.contains(document.activeElement) ? document.activeElement : null;
  change();
  if (!had || document.activeElement === had) return;
  const there = [...root.querySelectorAll('a, button')].filter((element) => !element.disabled);
  const goal = there.find((element) => key(element) === key(had)) || there[0] || root;
  if (goal === root) root.tabIndex = -1;
  goal.focus({ preventScroll: true });
}

let silence = 0;
export function say(text) {
  const said = document.getElementById('said');
  said.textContent = text;
  said.classList.add('shown');
  clearTimeout(silence);
  silence = setTimeout(() => said.classList.remove('shown'), 6000);
}

// A question in a dialog; resolves with the form's values, or null.
export function ask(title, content, answer) {
  return new Promise((resolve) => {
    const form = h('form', { method: 'dialog' }, h('h2', { id: 'ask-title' }, title), content,
      h('div', { class: 'acts' }, h('button', { class: 'first', value: 'yes' }, answer), h('button', { value: 'no', formnovalidate: true }, 'Not now')));
    const dialog = h('dialog', { class: 'ask', 'aria-labelledby': 'ask-title' }, form);
    dialog.addEventListener('close', () => {
      dialog.remove();
      resolve(dialog.returnValue === 'yes' ? Object.fromEntries(new FormData(form)) : null);
    });
    document.body.append(dialog);
    dialog.showModal();
  });
}
