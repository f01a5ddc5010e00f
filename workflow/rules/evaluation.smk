"""The one-shot score matrix, a job per block of candidates and items, gathered to one file.

Inputs:  <results>/samples/{dataset}/pool.parquet, <resources>/models/{model}/
         with calibrated targets, <results>/features/{model}/{dataset}.parquet
Outputs: <results>/evaluation/{model}/{dataset}/blocks/{block}.parquet
         with `stop_at_reliability`, which adds blocks until the items are reliable enough:
         <results>/evaluation/{model}/{dataset}/reliability/{end}.json  lower limit of alpha of the items before `end`
         <results>/evaluation/{model}/{dataset}/needed/{asked}.json     the blocks that were enough
         <results>/evaluation/{model}/{dataset}.parquet

Blocks read the pool, which does not change when more candidates or items are asked for: growth adds blocks only.
"""


rule evaluation_block:
    input:
        pool="<results>/samples/{dataset}/pool.parquet",
        model="<resources>/models/{model}/source.json",
        task=lambda wildcards: study.task_files[wildcards.dataset],
    output:
        block_out=ensure("<results>/evaluation/{model}/{dataset}/blocks/{block}.parquet", non_empty=True),
    log:
        "<logs>/evaluation/{model}-{dataset}-{block}.log",
    benchmark:
        "<benchmarks>/evaluation/{model}-{dataset}-{block}.jsonl"
    conda:
        "../../envs/models.yaml"
    threads: model_threads
    resources:
        gpu=0 if "url" in config["evaluation"].get("engine", {}) else MODEL_GPUS,  # a server is checked on the CPU
        mem_mb=model_memory,
        runtime=block_minutes,
    params:
        settings=lambda wildcards: study.block_settings(wildcards.dataset),
        dtype=lookup("models/{model}/dtype", within=config),
        code=code_digest("evaluation_block"),
    script:
        "../scripts/evaluation_block.py"


checkpoint reliability_so_far:
    input:
        blocks=lambda wildcards: study.blocks(wildcards.model, wildcards.dataset, int(wildcards.end)),
        pool="<results>/samples/{dataset}/pool.parquet",
    output:
        reliability_out="<results>/evaluation/{model}/{dataset}/reliability/{end}.json",
    log:
        "<logs>/evaluation/{model}-{dataset}-reliability-{end}.log",
    benchmark:
        "<benchmarks>/evaluation/{model}-{dataset}-reliability-{end}.jsonl"
    conda:
        "../../envs/analysis.yaml"
    params:
        code=code_digest("reliability_so_far"),
    script:
        "../scripts/reliability_so_far.py"


rule blocks_needed:
    input:
        blocks=needed_blocks,
        pool="<results>/samples/{dataset}/pool.parquet",
    output:
        needed_out="<results>/evaluation/{model}/{dataset}/needed/{asked}.json",
    log:
        "<logs>/evaluation/{model}-{dataset}-needed-{asked}.log",
    benchmark:
        "<benchmarks>/evaluation/{model}-{dataset}-needed-{asked}.jsonl"
    conda:
        "../../envs/analysis.yaml"
    params:
        settings=lambda wildcards: study.matrix_settings(wildcards.dataset),
        code=code_digest("blocks_needed"),
    script:
        "../scripts/blocks_needed.py"


rule evaluation:
    input:
        blocks=lambda wildcards: study.all_blocks(wildcards.model, wildcards.dataset),
        pool="<results>/samples/{dataset}/pool.parquet",
        model="<resources>/models/{model}/source.json",
        task=lambda wildcards: study.task_files[wildcards.dataset],
        features=study.calibrating,
    output:
        evaluation_out=ensure("<results>/evaluation/{model}/{dataset}.parquet", non_empty=True),
    log:
        "<logs>/evaluation/{model}-{dataset}.log",
    benchmark:
        "<benchmarks>/evaluation/{model}-{dataset}.jsonl"
    conda:
        "../../envs/analysis.yaml"
    params:
        settings=lambda wildcards: study.matrix_settings(wildcards.dataset),
        block_settings=lambda wildcards: study.block_settings(wildcards.dataset),
        dtype=lookup("models/{model}/dtype", within=config),
        code=code_digest("evaluation"),
    script:
        "../scripts/evaluation.py"
