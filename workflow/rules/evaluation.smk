"""The one-shot score matrix, a job per block of candidates and items, gathered to one file.

Inputs:  <results>/samples/{dataset}/pool.parquet, <resources>/models/{model}/
Outputs: <results>/evaluation/{model}/{dataset}/blocks/{block}.parquet
         with `stop_at_reliability`, which adds blocks until the items are reliable enough:
         <results>/evaluation/{model}/{dataset}/reliability/{end}.json  alpha of the items before `end`
         <results>/evaluation/{model}/{dataset}/needed/{asked}.json     the blocks that were enough
         <results>/evaluation/{model}/{dataset}.parquet

Blocks read the pool, which does not change when more candidates or items are asked for: growth adds blocks only.
"""


rule evaluation_block:
    input:
        pool="<results>/samples/{dataset}/pool.parquet",
        model="<resources>/models/{model}/source.json",
        task=files_of_task,
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
        mem_mb=model_memory,
        runtime=block_minutes,
    params:
        settings=block_settings,
        dtype=lookup("models/{model}/dtype", within=config),
        code=code_digest("evaluation_block"),
    script:
        "../scripts/evaluation_block.py"


checkpoint reliability_so_far:
    input:
        blocks_so_far,
    output:
        "<results>/evaluation/{model}/{dataset}/reliability/{end}.json",
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
        "<results>/evaluation/{model}/{dataset}/needed/{asked}.json",
    log:
        "<logs>/evaluation/{model}-{dataset}-needed-{asked}.log",
    benchmark:
        "<benchmarks>/evaluation/{model}-{dataset}-needed-{asked}.jsonl"
    conda:
        "../../envs/analysis.yaml"
    params:
        settings=asked_of_matrix,
        code=code_digest("blocks_needed"),
    script:
        "../scripts/blocks_needed.py"


rule evaluation:
    input:
        blocks=all_blocks,
        pool="<results>/samples/{dataset}/pool.parquet",
        model="<resources>/models/{model}/source.json",
        task=files_of_task,
    output:
        ensure("<results>/evaluation/{model}/{dataset}.parquet", non_empty=True),
    log:
        "<logs>/evaluation/{model}-{dataset}.log",
    benchmark:
        "<benchmarks>/evaluation/{model}-{dataset}.jsonl"
    conda:
        "../../envs/analysis.yaml"
    params:
        settings=asked_of_matrix,
        block_settings=block_settings,
        dtype=lookup("models/{model}/dtype", within=config),
        code=code_digest("evaluation"),
    script:
        "../scripts/evaluation.py"
