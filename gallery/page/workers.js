// The machines: what each is, how fast, how warm, and what it does.
import { api, live } from './api.js';
import { ago, h, number, rate } from './ui.js';

function facts(worker) {
  const status = worker.device_status;
  const rows = [
    ['Device', worker.device],
    ['Models', worker.models.join(', ') || 'none loaded'],
    ['Rate', worker.images_per_second > 0 ? `${rate(worker.images_per_second)} images/s` : 'nothing measured yet'],
    ['Holds', `${number(worker.leased)} variants, ${worker.slots} slots`],
    ['Rendered', `${number(worker.committed)} since it connected, ${ago(worker.connected_unix_ms)}`],
  ];
  if (status && Number(status.memory_mb))
    rows.push(['Memory', `${number(status.memory_used_mb)} of ${number(status.memory_mb)} MB`]);
  if (status && status.temperature_celsius > 0) {
    const power = status.power_watts > 0 ? `, ${Math.round(status.power_watts)} W` : '';
    rows.push(['Temperature', `${Math.round(status.temperature_celsius)} °C${power}`]);
  }
  if (status && status.utilization > 0) rows.push(['Busy', `${Math.round(100 * status.utilization)}%`]);
  return rows;
}

export function workersPage(main) {
  const list = h('ul', { class: 'workers' });
  const empty = h('div', { class: 'empty' });
  main.replaceChildren(h('h1', {}, 'Workers'), empty, list);
  const cards = new Map();
  const explain = async (card, id) => {
    if (card.asked && Date.now() - card.asked < 4000) return;
    card.asked = Date.now();
    try {
      card.why.textContent = (await api(`workers/${encodeURIComponent(id)}/explain`)).text;
    } catch { /* it may have gone */ }
  };
  const show = ({ workers }) => {
    empty.replaceChildren(...(workers.length ? [] : [h('h2', {}, 'No worker is connected'), h('p', {}, 'Start tiltshift-worker on a machine that renders.')]));
    const known = new Set(workers.map((worker) => worker.id));
    for (const [id, card] of cards) if (!known.has(id)) { card.root.remove(); cards.delete(id); }
    for (const worker of workers) {
      let card = cards.get(worker.id);
      if (!card) {
        card = { state: h('span'), values: h('dl', { class: 'values' }), why: h('p', { class: 'soft small' }) };
        card.root = h('li', { class: 'worker' }, h('h2', {}, worker.id), card.state, card.values, card.why);
        cards.set(worker.id, card);
        list.append(card.root);
      }
      const busy = Number(worker.leased) > 0;
      card.state.className = `state ${worker.benched ? 'failed' : worker.draining ? 'paused' : busy ? 'running' : 'queued'}`;
      card.state.textContent = worker.benched ? `benched: ${worker.benched}` : worker.draining ? 'leaving' : busy ? 'rendering' : 'idle';
      card.values.replaceChildren(...facts(worker).flatMap(([name, value]) => [h('dt', {}, name), h('dd', { class: 'number' }, value)]));
      explain(card, worker.id);
    }
  };
  return live('live/workers', { workers: show, trouble: ({ error }) => empty.replaceChildren(h('p', { class: 'bad' }, error)) });
}
