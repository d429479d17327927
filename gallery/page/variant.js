// One picture large, two side by side, and a new job from what was liked.
import { api, picture } from './api.js';
import { favourites, toggle } from './favourites.js';
import { ask, bytes, h, keepFocus, number, say, stateOf } from './ui.js';

function whole(label, content, left) {
  const dialog = h('dialog', { class: 'whole', 'aria-label': label }, content);
  dialog.addEventListener('close', () => { dialog.remove(); left(); });
  document.body.append(dialog);
  dialog.showModal();
  return dialog;
}

const values = (pairs) => h('dl', { class: 'values' }, pairs.flatMap(([name, value, differs]) =>
  [h('dt', {}, name), h('dd', { class: differs ? 'differs' : null }, value)]));

// A map comes in any order: the spec's axes first, as they are written there.
function parametersOf(job, variant) {
  const order = (job.spec.axes || []).map((axis) => axis.name);
  const rank = (name) => (order.indexOf(name) + order.length + 1) % (order.length + 1);
  return Object.entries(variant.parameters).sort(([a], [b]) => rank(a) - rank(b) || a.localeCompare(b));
}

export async function variantAt(job, index) {
  const { variants } = await api(`jobs/${job}/variants?first=${index}&limit=1`);
  if (!variants.length) throw new Error(`the job has no picture ${index}`);
  return { ...variants[0], index: Number(variants[0].index) };
}

// The page's own address names the picture, so that a link and the back button work.
export async function openVariant(job, index, me, left) {
  const id = job.id;
  let variant = await variantAt(id, index);
  const turn = (by) => {
    const next = variant.index + by;
    if (next < 0 || next >= Number(job.variants)) return;
    history.replaceState(null, '', `#/jobs/${id}/variants/${next}`);
    show(next);
  };
  const back = h('button', { class: 'turn back', 'aria-label': 'The picture before', onclick: () => turn(-1) }, '‹');
  const on = h('button', { class: 'turn on', 'aria-label': 'The next picture', onclick: () => turn(1) }, '›');
  const stage = h('div', { class: 'stage' }, h('p'), back, on);
  const title = h('h2', { 'aria-live': 'polite' });
  const top = h('div', { class: 'side-top' }, title, h('button', { 'aria-label': 'Close', class: 'close', onclick: () => dialog.close() }, '✕'));
  const rest = h('div', { class: 'rest' });
  const side = h('div', { class: 'side' }, top, rest);
  const dialog = whole('Picture', h('div', { class: 'view' }, stage, side), left);
  dialog.addEventListener('keydown', (event) => {
    if (event.key === 'ArrowLeft') turn(-1);
    else if (event.key === 'ArrowRight') turn(1);
    else if (event.key === 'f' && !event.ctrlKey && !event.metaKey) dialog.querySelector('.like').click();
  });

  const render = () => keepFocus(dialog, draw);
  const draw = () => {
    const state = stateOf(variant.state);
    const name = `Picture ${number(variant.index)}`;
    dialog.setAttribute('aria-label', name);
    title.textContent = name;
    const shown = state === 'committed' ? h('img', { src: picture(id, variant.index), alt: variant.prompt, decoding: 'async' })
      : h('p', { class: 'why' }, state === 'failed' ? `It failed: ${variant.reason}` : 'Not rendered yet.');
    stage.firstChild.replaceWith(shown);
    if (state === 'waiting') explain(shown, variant.index);
    back.disabled = variant.index === 0;
    on.disabled = variant.index + 1 >= Number(job.variants);
    const liked = favourites(id).has(variant.index);
    const like = h('button', { class: 'like', 'aria-pressed': liked, onclick: () => { toggle(id, variant.index); render(); } }, liked ? '♥ Favourite' : '♡ Favourite');
    const acts = h('div', { class: 'acts' }, like,
      state === 'committed' && h('a', { class: 'button', href: `${picture(id, variant.index)}?download=1`, download: variant.name }, 'Download'),
      h('a', { class: 'button compare', href: `#/jobs/${id}`, onclick: () => sessionStorage.setItem('compare', `${id} ${variant.index}`) }, 'Compare'),
      me.changes && !variant.parameters.photo && h('button', { class: 'more', onclick: () => moreLike(job, [variant], () => dialog.close()) }, 'More like this'));
    rest.replaceChildren(acts, values(parametersOf(job, variant)), h('p', { class: 'prompt' }, variant.prompt), made(variant, state));
  };
  const made = (of, state) => {
    const rows = h('div', { class: 'small soft' });
    if (state !== 'committed') return rows;
    api(`jobs/${id}/variants/${of.index}`).then((info) => rows.replaceChildren(values([
      ...('seed' in of.parameters ? [] : [['seed', info.seed]]), ['file', `${info.name}, ${bytes(info.bytes)}`], ['rendered', `in ${info.seconds.toFixed(2)} s by ${info.worker}`],
      ['with', info.render_class], ['SHA-256', info.sha256]])), () => {});
    return rows;
  };
  const explain = (place, of) => api(`jobs/${id}/variants/${of}/explain`).then(({ text }) => { place.textContent = text; }, () => {});
  const show = async (next) => {
    try {
      variant = await variantAt(id, next);
      render();
    } catch (error) {
      say(error.message);
    }
  };
  render();
  return { close: () => dialog.close(), look: () => { if (stateOf(variant.state) === 'waiting') show(variant.index); } };
}

export async function openCompare(job, one, other, left) {
  const pair = await Promise.all([variantAt(job.id, one), variantAt(job.id, other)]);
  const names = [...new Set(pair.flatMap((variant) => parametersOf(job, variant).map(([name]) => name)))];
  const differ = names.filter((name) => pair[0].parameters[name] !== pair[1].parameters[name]);
  const figure = (variant) => h('figure', {},
    stateOf(variant.state) === 'committed' ? h('img', { src: picture(job.id, variant.index), alt: variant.prompt }) : h('p', { class: 'why' }, 'Not rendered.'),
    h('figcaption', {}, `${number(variant.index)}: `, differ.map((name) => variant.parameters[name]).join(', ') || 'no parameter differs'));
  const same = names.filter((name) => !differ.includes(name)).map((name) => `${name} ${pair[0].parameters[name]}`);
  const dialog = whole('Two pictures', h('div', { class: 'pair' },
    h('div', { class: 'side-top' }, h('h2', {}, differ.length ? `They differ in ${differ.join(', ')}` : 'Two pictures'), h('button', { 'aria-label': 'Close', class: 'close', onclick: () => dialog.close() }, '✕')),
    h('div', { class: 'pair-pictures' }, pair.map(figure)),
    h('p', { class: 'soft small' }, same.length ? `Both: ${same.join(', ')}` : '')), left);
  return { close: () => dialog.close(), look() {} };
}

// Axes that make the chosen variants and no others, times new seeds.
function axesOf(job, variants, seeds) {
  const templates = `${job.spec.prompt} ${job.spec.negative_prompt || ''} ${job.spec.output?.name || ''}`;
  const contest = job.spec.kind === 'JOB_KIND_CONTEST';
  const names = Object.keys(variants[0].parameters).filter((name) => name !== 'seed' && (!contest || templates.includes(`{${name}}`)));
  const rows = [...new Map(variants.map((variant) => [JSON.stringify(names.map((name) => variant.parameters[name])), variant])).values()];
  const axes = [];
  const varying = names.filter((name) => new Set(rows.map((row) => row.parameters[name])).size > 1);
  // The values of an axis differ from each other, so several variants are a product where they can be one.
  for (const name of names) axes.push({ name, list: { values: [...new Set(rows.map((row) => row.parameters[name]))] } });
  axes.push({ name: 'seed', range: seeds });
  const count = axes.slice(0, -1).reduce((all, axis) => all * axis.list.values.length, 1);
  const paired = varying.length > 1 && varying.every((name) => axes.find((axis) => axis.name === name).list.values.length === rows.length);
  const combine = paired ? [...names.filter((name) => !varying.includes(name)), `(${varying.join(', ')})`, 'seed'].join(' * ') : '';
  return { axes, combine, pictures: paired ? rows.length : count };
}

export async function moreLike(job, variants, before) {
  const usual = Math.max(...variants.map((variant) => Number(variant.seed))) + 1;
  const plan = axesOf(job, variants, '0');
  const words = plan.pictures === 1 ? 'Everything stays as it is but the seed.'
    : `${number(plan.pictures)} combinations of what you chose, each with new seeds.`;
  const given = await ask('More like this', [h('p', { class: 'soft' }, words),
    h('label', { class: 'field' }, h('span', {}, 'Name'), h('input', { name: 'name', required: true, maxlength: 64, value: `${job.spec.name} again`.slice(0, 64) })),
    h('label', { class: 'field' }, h('span', {}, 'How many seeds'), h('input', { name: 'count', type: 'number', min: 1, max: 1000, value: 8, required: true })),
    h('label', { class: 'field' }, h('span', {}, 'From seed'), h('input', { name: 'first', type: 'number', min: 0, max: 4000000000, value: usual, required: true }))], 'Begin the job');
  if (!given) return;
  const first = Number(given.first), last = first + Number(given.count) - 1;
  const { axes, combine } = axesOf(job, variants, first === last ? `${first}` : `${first}-${last}`);
  try {
    const submitted = await api(`jobs/${job.id}/like?request_id=${crypto.getRandomValues(new Uint32Array(4)).join('-')}`, { name: given.name, axes, combine });
    say(`${given.name}: ${number(submitted.variants)} pictures are on their way`);
    before();
    location.hash = `#/jobs/${submitted.job_id}`;
  } catch (error) {
    say(error.message);
  }
}
