// A contest's entries, and a job's failures: what each is and why. Both come by the hundred as one gets to them.
import { api, picture } from './api.js';
import { h, number, stateOf } from './ui.js';

const PAGE = 100, MOST = 500;

// `load(from, limit)`: {items, total, next}, `next` 0 behind the last; items have a `key` that rises. `row(item)`: its
// element, which is kept while nothing of the item changes.
function listing(body, heads, what, { load, row }) {
  const rows = h('tbody');
  const count = h('p', { class: 'soft listed', role: 'status' });
  const more = h('button', { class: 'more-rows', hidden: true, onclick: () => bring(next, PAGE) }, `More ${what[1]}`);
  let shown = [], next = 0, busy = false, again = false;
  const watcher = new IntersectionObserver(([{ isIntersecting }]) => { if (isIntersecting && !more.hidden) bring(next, PAGE); }, { rootMargin: '600px' });
  const show = ({ items, total, next: after }, from) => {
    const old = new Map(shown.map((known) => [known.key, known]));
    const fresh = items.map((item) => {
      const text = JSON.stringify(item), known = old.get(item.key);
      return known?.text === text ? known : { key: item.key, text, element: row(item) };
    });
    const last = fresh.at(-1)?.key ?? -1;
    const before = from ? shown.filter(({ key }) => !fresh.length || key < fresh[0].key) : [];
    const behind = after ? shown.filter(({ key }) => key > last) : [];
    shown = [...before, ...fresh, ...behind];
    if (!behind.length) next = after;
    shown.forEach(({ element }, at) => { if (rows.children[at] !== element) rows.insertBefore(element, rows.children[at] || null); });
    while (rows.children.length > shown.length) rows.lastChild.remove();
    more.hidden = next === 0;
    count.textContent = more.hidden ? `${number(total)} ${what[Number(total) === 1 ? 0 : 1]}` : `${number(shown.length)} of ${number(total)} ${what[1]}; more come as you scroll`;
    watcher.unobserve(more);
    watcher.observe(more);
  };
  const bring = async (from, limit) => {
    if (busy) { again = again || from === 0; return; }
    busy = true;
    try {
      show(await load(from, limit), from);
    } catch (error) {
      count.textContent = error.message;
    }
    busy = false;
    if (again) { again = false; look(); }
  };
  const look = () => bring(0, Math.min(MOST, Math.max(PAGE, shown.length)));
  body.replaceChildren(count, h('div', { class: 'scrolls' }, h('table', { class: 'table' }, h('thead', {}, h('tr', {}, heads.map(([text, wide]) => h('th', { scope: 'col', class: wide ? 'wide' : null }, text)))), rows)), more);
  look();
  return { look, end: () => watcher.disconnect() };
}

export function entriesView(body, job) {
  const row = (entry) => {
    const from = Number(entry.variants.first);
    const done = Number(entry.committed) > 0;
    const count = Number(entry.variants.count);
    const address = count === 1 ? `#/jobs/${job.id}/variants/${from}` : `#/jobs/${job.id}/entry/${from}-${count}`;
    return h('tr', {}, h('td', {}, done ? h('a', { href: address, tabindex: -1, 'aria-hidden': true }, h('img', { class: 'thumb', alt: '', loading: 'lazy', src: picture(job.id, from, 256) })) : h('div', { class: 'thumb' })),
      h('td', {}, h('a', { href: address }, entry.id)), h('td', {}, entry.author),
      h('td', {}, h('span', { class: `state ${stateOf(entry.state)}` }, `${stateOf(entry.state)} · ${number(entry.committed)} of ${number(count)}`)),
      h('td', { class: 'wide' }, entry.columns.prompt || ''), h('td', { class: 'bad' }, entry.reason));
  };
  const load = async (from, limit) => {
    const { entries, total } = await api(`jobs/${job.id}/entries?first=${from}&limit=${limit}`);
    const behind = from + entries.length;
    return { items: entries.map((entry, at) => ({ ...entry, key: from + at })), total, next: behind < Number(total) && entries.length ? behind : 0 };
  };
  return listing(body, [['Picture'], ['Entry'], ['Author'], ['State'], ['Wish', true], ['Reason']], ['entry', 'entries'], { load, row });
}

export function failuresView(body, job) {
  const names = (job.spec.axes || []).map((axis) => axis.name);
  const what = ({ parameters }) => (job.spec.kind === 'JOB_KIND_CONTEST' ? ['id', ...names] : names).map((name) => parameters[name]).filter(Boolean).join(', ');
  const row = (failed) => h('tr', {}, h('td', {}, h('a', { href: `#/jobs/${job.id}/variants/${failed.index}` }, number(failed.index))),
    h('td', {}, what(failed)), h('td', { class: 'bad' }, failed.reason), h('td', { class: 'number' }, failed.attempts));
  const load = async (from, limit) => {
    const { variants, total, next } = await api(`jobs/${job.id}/variants?failed=1&first=${from}&limit=${limit}`);
    return { items: variants.map((variant) => ({ ...variant, key: Number(variant.index) })), total, next: Number(next) };
  };
  return listing(body, [['Picture'], ['Of'], ['Reason'], ['Attempts']], ['failure', 'failures'], { load, row });
}
