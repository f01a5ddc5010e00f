"""Sets of several demonstrations, chosen from the score matrix, and which of them to ship. Only with `shots` in the config.

Inputs:  the score matrix, the samples, <resources>/models/{model}/
Outputs: <results>/shots/{model}/{dataset}.parquet  a row per set of demonstrations and item
         <results>/picks/{model}/{dataset}.jsonl    demonstrations to ship, a line per pick, the recommended one first
         <results>/picks/{model}/{dataset}.yaml     a task of lm-evaluation-harness with these demonstrations
         <results>/shots_summary/{model}/{dataset}.parquet  a row per random set, and per set that was chosen
"""


rule shots:
    input:
        evaluation="<results>/evaluation/{model}/{dataset}.parquet",
        candidates="<results>/samples/{dataset}/candidates.parquet",
        item_rows="<results>/samples/{dataset}/items.parquet",
        model="<resources>/models/{model}/source.json",
    output:
        shots_out=ensure("<results>/shots/{model}/{dataset}.parquet", non_empty=True),
    log:
        "<logs>/shots/{model}-{dataset}.log",
    benchmark:
        "<benchmarks>/shots/{model}-{dataset}.jsonl"
    conda:
        "../../envs/shots.yaml"
    threads: model_threads
    resources:
        gpu=MODEL_GPUS,
        mem_mb=model_memory,
        runtime=240,
    params:
        settings=study.shot_settings,
        dtype=lookup("models/{model}/dtype", within=config),
        seed=config["seed"],
        code=code_digest("shots"),
    script:
        "../scripts/shots.py"


rule picks:
    input:
        shots="<results>/shots/{model}/{dataset}.parquet",
        evaluation="<results>/evaluation/{model}/{dataset}.parquet",
        candidates="<results>/samples/{dataset}/candidates.parquet",
        item_rows="<results>/samples/{dataset}/items.parquet",
        model="<resources>/models/{model}/source.json",
        task=lambda wildcards: study.task_files[wildcards.dataset],
    output:
        picks_out=ensure("<results>/picks/{model}/{dataset}.jsonl", non_empty=True),
        task_out="<results>/picks/{model}/{dataset}.yaml",
        summary_out=ensure("<results>/shots_summary/{model}/{dataset}.parquet", non_empty=True),
    log:
        "<logs>/picks/{model}-{dataset}.log",
    benchmark:
        "<benchmarks>/picks/{model}-{dataset}.jsonl"
    conda:
        "../../envs/shots.yaml"
    params:
        settings=lambda wildcards: study.pick_settings(wildcards.dataset),
        seed=config["seed"],
        code=code_digest("picks"),
    script:
        "../scripts/picks.py"
