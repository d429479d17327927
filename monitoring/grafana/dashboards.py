#!/usr/bin/env python3
"""Writes the Grafana dashboards beside it, from what each panel is to show: title, unit, queries.

    monitoring/grafana/dashboards.py            writes fleet.json, job.json, worker.json, cost.json
    monitoring/grafana/dashboards.py --check    only says which are not as it would write them; exit 1 then

tests/monitoring_farm_test.cc asks a Prometheus that watches a farm every query.
"""

import json
import pathlib
import sys

FOLDER = pathlib.Path(__file__).resolve().parent
COLUMNS, WIDTH, HEIGHT = 3, 8, 8
DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}

# Of each: (title, kind, unit, description, [(query, legend), ...]).
FLEET = [
    ("Leading schedulers", "stat", "none", "1, but for the seconds in which the lead passes on.",
     [("sum(tiltshift_leader)", "leaders")]),
    ("Epoch", "stat", "none", "Rises with each change of the leader.", [("max(tiltshift_epoch)", "epoch")]),
    ("Alerts", "stat", "none", "That fire now.",
     [('count(ALERTS{alertstate="firing", alertname=~"Tiltshift.*"}) or vector(0)', "firing")]),
    ("Images a second", "timeseries", "ops", "Committed, over five minutes.",
     [("tiltshift:images:rate5m", "{{model}} on {{device}}")]),
    ("Workers", "timeseries", "none", "With an open session, by what they do.",
     [("sum by (state) (tiltshift_workers)", "{{state}}")]),
    ("Slots at work", "timeseries", "percentunit", "Of all slots of all workers.",
     [("tiltshift:slots_busy:ratio", "busy")]),
    ("Queue", "timeseries", "s", "Seconds that one worker would render what waits.",
     [("sum by (model, device) (tiltshift_queue_seconds)", "{{model}} on {{device}}")]),
    ("Until all is rendered", "timeseries", "s", "At the present number of workers and their rates.",
     [("tiltshift:remaining:eta_seconds", "left")]),
    ("Oldest waiting variant", "timeseries", "s", "Paused jobs left out.",
     [("max(tiltshift_oldest_waiting_seconds)", "age")]),
    ("What goes wrong", "timeseries", "ops", "Over five minutes.",
     [("sum(rate(tiltshift_variants_failed_total[5m]))", "variants failed for good"),
      ("sum(rate(tiltshift_variants_retried_total[5m]))", "attempts tried again"),
      ("sum(rate(tiltshift_leases_expired_total[5m]))", "leases expired"),
      ("sum(rate(tiltshift_variants_quarantined_total[5m]))", "variants quarantined"),
      ("sum(rate(tiltshift_workers_benched_total[5m]))", "workers benched")]),
    ("Leases", "timeseries", "ops", "Given, taken over, and held.",
     [("sum(rate(tiltshift_leases_granted_total[5m]))", "granted a second"),
      ("sum(rate(tiltshift_leases_stolen_total[5m]))", "taken over a second"),
      ("sum(tiltshift_leases_active)", "held")]),
    ("Turns", "timeseries", "ops", "Of workers, a second.",
     [("sum(rate(tiltshift_turn_seconds_count[5m]))", "turns")]),
    ("Turn, one in a hundred", "timeseries", "s", "From a worker's message to its acknowledgement, durable in Redis.",
     [("tiltshift:turn_seconds:p99_5m", "99%")]),
    ("Redis, one in a hundred", "timeseries", "s", "Round trips, by function.",
     [("tiltshift:redis_seconds:p99_5m", "{{function}}")]),
    ("Blob store, one in a hundred", "timeseries", "s", "Calls of schedulers and workers.",
     [("tiltshift:blob_seconds:p99_5m", "{{operation}}")]),
    ("Calls, one in a hundred", "timeseries", "s", "Of clients; streams left out.",
     [("tiltshift:grpc_seconds:p99_5m", "{{method}}")]),
    ("Calls a second", "timeseries", "ops", "Of clients, by method.",
     [("sum by (method) (rate(tiltshift_grpc_seconds_count[5m]))", "{{method}}")]),
]

JOB = [
    ("Jobs", "timeseries", "none", "By state.", [("sum by (state) (tiltshift_jobs)", "{{state}}")]),
    ("Submissions", "timeseries", "ops", "Jobs, and batches of contests' entries.",
     [('sum by (method) (rate(tiltshift_grpc_seconds_count{method=~"Submit|AppendEntries"}[5m]))', "{{method}}")]),
    ("Waiting variants", "timeseries", "none", "With no worker.", [("sum(tiltshift_queue_variants)", "waiting")]),
    ("Still to render", "timeseries", "s", "Seconds of one worker, what workers hold included.",
     [('sum by (model, device) (tiltshift_remaining_seconds{model=~"$model"})', "{{model}} for {{device}}")]),
    ("Committed", "timeseries", "ops", "Variants a second.",
     [("sum(rate(tiltshift_variants_committed_total[5m]))", "variants")]),
    ("Attempts that fail", "timeseries", "percentunit", "Over a quarter of an hour.",
     [("tiltshift:failed_attempts:ratio15m", "failed")]),
    ("Lost in the last hour", "timeseries", "none", "Variants.",
     [("sum(increase(tiltshift_variants_failed_total[1h]))", "failed for good"),
      ("sum(increase(tiltshift_variants_quarantined_total[1h]))", "of those, quarantined"),
      ("sum(increase(tiltshift_variants_retried_total[1h]))", "attempts tried again")]),
    ("Seconds a variant", "timeseries", "s", "Of one worker.",
     [('tiltshift:render_seconds:mean5m{model=~"$model"}', "{{model}} on {{device}}")]),
    ("Where the time goes", "bars", "s", "Seconds of a slot, by stage.",
     [('tiltshift:stage_seconds:mean5m{model=~"$model"}', "{{stage}}, {{model}} on {{device}}")]),
    ("Photos", "timeseries", "none", "That can still be opened.", [("sum(tiltshift_photos_kept)", "kept")]),
    ("Photos in the last hour", "timeseries", "none", "Taken in, and destroyed for good.",
     [("sum(increase(tiltshift_photos_taken_total[1h]))", "taken"),
      ("sum(increase(tiltshift_photos_destroyed_total[1h]))", "destroyed")]),
]

WORKER = [
    ("Slots at work", "timeseries", "percentunit", "Of each worker.",
     [('tiltshift_slots_busy{instance=~"$instance"} / tiltshift_slots', "{{instance}}")]),
    ("Images a second", "timeseries", "ops", "Stored, over the last minute.",
     [('tiltshift_images_per_second{instance=~"$instance"}', "{{instance}}")]),
    ("Connected", "timeseries", "none", "1 while a scheduler has welcomed it.",
     [('tiltshift_connected{instance=~"$instance"}', "{{instance}}")]),
    ("Images by model", "timeseries", "ops", "Rendered and stored.",
     [('sum by (model, device) (rate(tiltshift_images_rendered_total{instance=~"$instance"}[5m]))',
       "{{model}} on {{device}}")]),
    ("Stages, one in twenty", "timeseries", "s", "Takes longer than this.",
     [('histogram_quantile(0.95, sum by (stage, le) '
       '(rate(tiltshift_render_seconds_bucket{instance=~"$instance"}[5m])))', "{{stage}}")]),
    ("Slots by stage", "bars", "none", "How many are in it, on average.",
     [('sum by (stage) (rate(tiltshift_render_seconds_sum{instance=~"$instance"}[5m]))', "{{stage}}")]),
    ("Failures", "timeseries", "ops", "Variants that could not be rendered, by why.",
     [('sum by (why) (rate(tiltshift_render_failures_total{instance=~"$instance"}[5m]))', "{{why}}")]),
    ("Denoising steps", "timeseries", "ops", "Begun here; made elsewhere of what is finished here.",
     [('sum(rate(tiltshift_steps_begun_total{instance=~"$instance"}[5m]))', "begun"),
      ('sum(rate(tiltshift_steps_resumed_total{instance=~"$instance"}[5m]))', "taken over"),
      ('sum(rate(tiltshift_renders_stopped_total{instance=~"$instance"}[5m]))', "renders given up to others")]),
    ("Blob store", "timeseries", "s", "Mean of a call.",
     [('sum by (operation) (rate(tiltshift_blob_seconds_sum{instance=~"$instance"}[5m])) / '
       '(sum by (operation) (rate(tiltshift_blob_seconds_count{instance=~"$instance"}[5m])) > 0)', "{{operation}}")]),
    ("Card at work", "timeseries", "percentunit", "NVML's utilization.",
     [('tiltshift_gpu_utilization_ratio{instance=~"$instance"}', "{{instance}} card {{gpu}}")]),
    ("Card's memory", "timeseries", "percentunit", "In use.",
     [('tiltshift_gpu_memory_used_bytes{instance=~"$instance"} / tiltshift_gpu_memory_bytes',
       "{{instance}} card {{gpu}}")]),
    ("Card's power", "timeseries", "watt", "", [('tiltshift_gpu_power_watts{instance=~"$instance"}',
                                                 "{{instance}} card {{gpu}}")]),
    ("Card's temperature", "timeseries", "celsius", "", [('tiltshift_gpu_temperature_celsius{instance=~"$instance"}',
                                                          "{{instance}} card {{gpu}}")]),
    ("Card's errors", "timeseries", "none", "Memory errors that were not corrected; XIDs.",
     [('tiltshift_gpu_uncorrected_errors{instance=~"$instance"}', "memory, {{instance}} card {{gpu}}"),
      ('tiltshift_gpu_xid_errors_total{instance=~"$instance"}', "XIDs, {{instance}} card {{gpu}}"),
      ('tiltshift_gpu_last_xid{instance=~"$instance"}', "last XID, {{instance}} card {{gpu}}")]),
]

COST = [
    ("Cost an hour", "stat", "currencyUSD", "Of all connected workers, idle ones too.",
     [("sum(tiltshift_workers_connected) * $price", "now")]),
    ("Of it for idling", "stat", "currencyUSD", "Of workers that hold nothing.",
     [('sum(tiltshift_workers{state="idle"}) * $price', "now")]),
    ("A thousand images", "stat", "currencyUSD", "At the present rate.",
     [("1000 * sum(tiltshift_workers_connected) * $price / 3600 / (sum(tiltshift:images:rate5m) > 0)", "now")]),
    ("What is submitted", "stat", "currencyUSD", "To render all that is left, if no worker idles.",
     [("sum(tiltshift_remaining_seconds) * $price / 3600", "left")]),
    ("Used", "timeseries", "percentunit", "The part of the workers' time in which they render.",
     [("sum(rate(tiltshift_farm_render_seconds_total[5m])) / (sum(tiltshift_workers_connected) > 0)", "used")]),
    ("Cost of a thousand images by model", "timeseries", "currencyUSD", "Of their render seconds.",
     [("1000 * tiltshift:render_seconds:mean5m * $price / 3600", "{{model}} on {{device}}")]),
    ("Last day by tenant", "bars", "currencyUSD", "Of their render seconds.",
     [("sum by (tenant) (increase(tiltshift_tenant_render_seconds_total[1d])) * $price / 3600", "{{tenant}}")]),
    ("Last day by model", "bars", "currencyUSD", "Of their render seconds.",
     [("sum by (model, device) (increase(tiltshift_farm_render_seconds_total[1d])) * $price / 3600",
       "{{model}} on {{device}}")]),
    ("Power", "timeseries", "watt", "Of all cards.", [("sum(tiltshift_gpu_power_watts)", "cards")]),
    ("Energy of a thousand images", "timeseries", "watth", "Of the cards.",
     [("1000 / 3600 * sum(tiltshift_gpu_power_watts) / "
       "(sum(rate(tiltshift_images_rendered_total[5m])) > 0)", "energy")]),
]


def choice(name, label, query):
    return {"name": name, "label": label, "type": "query", "datasource": DATASOURCE, "query": query, "refresh": 2,
            "includeAll": True, "allValue": ".*", "multi": True, "current": {"text": "All", "value": "$__all"}}


DASHBOARDS = {
    "fleet": ("Tiltshift: fleet", FLEET, []),
    "job": ("Tiltshift: jobs", JOB, [choice("model", "Model", "label_values(tiltshift_remaining_seconds, model)")]),
    "worker": ("Tiltshift: workers", WORKER, [choice("instance", "Worker", "label_values(tiltshift_slots, instance)")]),
    "cost": ("Tiltshift: cost", COST, [{"name": "price", "label": "Price of a worker's hour", "type": "textbox",
                                        "query": "2", "current": {"text": "2", "value": "2"}}]),
}


def panel(number, title, kind, unit, description, queries):
    return {
        "id": number + 1,
        "title": title,
        "description": description,
        "type": "stat" if kind == "stat" else "timeseries",
        "datasource": DATASOURCE,
        "gridPos": {"x": number % COLUMNS * WIDTH, "y": number // COLUMNS * HEIGHT, "w": WIDTH, "h": HEIGHT},
        "fieldConfig": {"defaults": {"unit": unit, "min": 0, "custom": {} if kind == "stat" else {
            "drawStyle": "bars" if kind == "bars" else "line", "fillOpacity": 80 if kind == "bars" else 10,
            "stacking": {"mode": "normal" if kind == "bars" else "none"}}}, "overrides": []},
        "targets": [{"refId": chr(ord("A") + i), "datasource": DATASOURCE, "expr": query, "legendFormat": legend}
                    for i, (query, legend) in enumerate(queries)],
    }


def dashboard(name):
    title, panels, variables = DASHBOARDS[name]
    return {
        "uid": "tiltshift-" + name,
        "title": title,
        "tags": ["tiltshift"],
        "schemaVersion": 38,
        "editable": True,
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "templating": {"list": [{"name": "datasource", "label": "Prometheus", "type": "datasource",
                                 "query": "prometheus"}] + variables},
        "links": [{"type": "dashboards", "tags": ["tiltshift"], "title": "Tiltshift", "asDropdown": False}],
        "panels": [panel(i, *described) for i, described in enumerate(panels)],
    }


def main():
    check, stale = sys.argv[1:] == ["--check"], []
    for name in DASHBOARDS:
        file, text = FOLDER / f"{name}.json", json.dumps(dashboard(name), indent=1) + "\n"
        if check:
            if not file.exists() or file.read_text() != text:
                stale.append(file.name)
        else:
            file.write_text(text)
    if stale:
        sys.exit(f"not as dashboards.py writes them: {', '.join(stale)}; run monitoring/grafana/dashboards.py")


if __name__ == "__main__":
    main()
