"""The one-shot score matrix, a job per block of candidates and items, gathered to one file.

Inputs:  <results>/samples/{dataset}/pool.parquet, <resources>/models/{model}/
Outputs: <results>/evaluation/{model}/{dataset}/blocks/{block}.parquet
         <results>/evaluation/{model}/{dataset}.parquet

Blocks read the pool, which does not change when more candidates or items are asked for: growth adds blocks only.
"""


rule evaluation_block:
    input:
        pool="<results>/samples/{dataset}/pool.parquet",
        model="<resources>/models/{model}/source.json",
        task=task_file,
    output:
        ensure("<results>/evaluation/{model}/{dataset}/blocks/{block}.parquet", non_empty=True),
    log:
        "<logs>/evaluation/{model}-{dataset}-{block}.log",
    benchmark:
        "<benchmarks>/evaluation/{model}-{dataset}-{block}.jsonl"
    conda:
        "../../envs/models.yaml"
    threads: MODEL_THREADS
    resources:
        gpu=1,
    params:
        settings=block_settings,
        dtype=lookup("models/{model}/dtype", within=config),
        code=code_digest("evaluation_block"),
    script:
        "../scripts/evaluation_block.py"


rule evaluation:
    input:
        blocks=all_blocks,
        pool="<results>/samples/{dataset}/pool.parquet",
        model="<resources>/models/{model}/source.json",
        task=task_file,
    output:
        ensure("<results>/evaluation/{model}/{dataset}.parquet", non_empty=True),
    log:
        "<logs>/evaluation/{model}-{dataset}.log",
    benchmark:
        "<benchmarks>/evaluation/{model}-{dataset}.jsonl"
    conda:
        "../../envs/analysis.yaml"
    params:
        settings=lambda wildcards: {key: config["datasets"][wildcards.dataset][key] for key in ("candidates", "items")},
        block_settings=block_settings,
        dtype=lookup("models/{model}/dtype", within=config),
        code=code_digest("evaluation"),
    script:
        "../scripts/evaluation.py"
