// A contest's entries, and a job's failures: what each is and why.
import { api, picture } from './api.js';
import { h, number, stateOf } from './ui.js';

const PAGE = 100;

function table(...heads) {
  const rows = h('tbody');
  const root = h('div', { class: 'scrolls' }, h('table', { class: 'table' }, h('thead', {}, h('tr', {}, heads.map(([text, wide]) => h('th', { scope: 'col', class: wide ? 'wide' : null }, text)))), rows));
  return { root, rows };
}

export function entriesView(body, job) {
  const { root, rows } = table(['Picture'], ['Entry'], ['Author'], ['State'], ['Wish', true], ['Reason', true]);
  const more = h('button', { onclick: () => bring(first + PAGE) }, 'More entries');
  const count = h('p', { class: 'soft' });
  let first = 0;
  const row = (entry) => {
    const from = Number(entry.variants.first);
    const done = Number(entry.committed) > 0;
    return h('tr', {}, h('td', {}, done ? h('a', { href: `#/jobs/${job.id}/variants/${from}` }, h('img', { class: 'thumb', alt: `Picture of ${entry.id}`, loading: 'lazy', src: picture(job.id, from, 256) })) : h('div', { class: 'thumb' })),
      h('td', {}, h('a', { href: `#/jobs/${job.id}/variants/${from}` }, entry.id)), h('td', {}, entry.author),
      h('td', {}, h('span', { class: `state ${stateOf(entry.state)}` }, `${stateOf(entry.state)} · ${number(entry.committed)} of ${number(entry.variants.count)}`)),
      h('td', { class: 'wide' }, entry.columns.prompt || ''), h('td', { class: 'wide bad' }, entry.reason));
  };
  const bring = async (next) => {
    first = next;
    const answer = await api(`jobs/${job.id}/entries?first=${first}`);
    const made = (answer.entries || []).map(row);
    if (first === 0) rows.replaceChildren(...made);
    else rows.append(...made);
    count.textContent = `${number(answer.total)} entries`;
    more.hidden = rows.children.length >= Number(answer.total);
  };
  body.replaceChildren(count, root, more);
  bring(0);
  return { look: () => { if (first === 0) bring(0); } };
}

export function failuresView(body, id, job) {
  const { root, rows } = table(['Picture'], ['Reason'], ['Attempts']);
  const note = h('p', { class: 'soft' });
  body.replaceChildren(note, root);
  const show = (now) => {
    const failures = now.failures || [];
    note.textContent = Number(now.failed) > failures.length ? `The first ${failures.length} of ${number(now.failed)}.` : '';
    rows.replaceChildren(...failures.map((failed) => h('tr', {}, h('td', {}, h('a', { href: `#/jobs/${id}/variants/${failed.index}` }, number(failed.index))),
      h('td', { class: 'bad' }, failed.reason), h('td', { class: 'number' }, failed.attempts))));
  };
  show(job);
  return { look: () => api(`jobs/${id}`).then(show, () => {}) };
}
