"""What labelled examples are worth: pools by chance or by a strategy, for prompts and for a probe. Only with `budget`.

Inputs:  the score matrix, the samples, features, embeddings
         <results>/representations/{model}/{dataset}.parquet  with `representations` in the config
Outputs: <results>/budget/{model}/{dataset}.parquet  a row per target, rule, representation, strategy and budget
"""


rule budget:
    input:
        evaluation="<results>/evaluation/{model}/{dataset}.parquet",
        candidates="<results>/samples/{dataset}/candidates.parquet",
        item_rows="<results>/samples/{dataset}/items.parquet",
        features="<results>/features/{model}/{dataset}.parquet",
        embeddings="<results>/embeddings/{model}/{dataset}.parquet",
        representations="<results>/representations/{model}/{dataset}.parquet" if "representations" in config else [],
    output:
        budget_out=ensure("<results>/budget/{model}/{dataset}.parquet", non_empty=True),
    log:
        "<logs>/budget/{model}-{dataset}.log",
    benchmark:
        "<benchmarks>/budget/{model}-{dataset}.jsonl"
    conda:
        "../../envs/analysis.yaml"
    params:
        settings={**config.get("budget", {}), **{key: config["quality"][key] for key in ("targets", "primary")}},
        seed=config["seed"],
        code=code_digest("budget"),
    script:
        "../scripts/budget.py"
