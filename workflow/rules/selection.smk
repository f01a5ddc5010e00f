"""What each selector is worth: the score of the demonstrations it picks on items it has not seen.

Inputs:  features, embeddings, metrics of all masks, the score matrix, candidates and items
         for the selector `probe`, the activations under the causal mask; for `sae_...`, the features of an SAE
Outputs: <results>/selection/{model}/{dataset}.parquet  a row per target and selector
         <results>/gains/{model}/{dataset}.parquet      a row per target, selector and number of candidates to pick from
         <results>/agreement/{model}/{dataset}.parquet  a row per target and what it is compared with, over disjoint items:
                                                        the other targets, and the other models in this one
         <results>/variance/{model}/{dataset}.parquet   where quality comes from, and what models share of it: a row per
                                                        target and source
"""


rule selection:
    input:
        metrics=expand("<results>/metrics/{{model}}/{{dataset}}/{mask}.parquet", mask=study.masks),
        features="<results>/features/{model}/{dataset}.parquet",
        embeddings="<results>/embeddings/{model}/{dataset}.parquet",
        evaluation="<results>/evaluation/{model}/{dataset}.parquet",
        candidates="<results>/samples/{dataset}/candidates.parquet",
        item_rows="<results>/samples/{dataset}/items.parquet",
        activations=lambda wildcards: activations_of(wildcards, "causal") if study.probes else [],
        representations="<results>/representations/{model}/{dataset}.parquet" if "representations" in config else [],
        codes=study.selecting_codes,
        dictionary=study.selecting_dictionary,
    output:
        selection_out=ensure("<results>/selection/{model}/{dataset}.parquet", non_empty=True),
        gains_out=ensure("<results>/gains/{model}/{dataset}.parquet", non_empty=True),
    log:
        "<logs>/selection/{model}-{dataset}.log",
    benchmark:
        "<benchmarks>/selection/{model}-{dataset}.jsonl"
    conda:
        "../../envs/analysis.yaml"
    threads: model_threads
    params:
        settings=lookup("selection", within=config),
        targets=lookup("quality/targets", within=config),
        masks=study.masks,
        seed=config["seed"],
        code=code_digest("selection"),
    script:
        "../scripts/selection.py"


rule agreement:
    input:
        evaluations=expand("<results>/evaluation/{model}/{{dataset}}.parquet", model=study.models),
        candidates="<results>/samples/{dataset}/candidates.parquet",
        item_rows="<results>/samples/{dataset}/items.parquet",
    output:
        agreement_out="<results>/agreement/{model}/{dataset}.parquet",
        variance_out="<results>/variance/{model}/{dataset}.parquet",
    log:
        "<logs>/agreement/{model}-{dataset}.log",
    benchmark:
        "<benchmarks>/agreement/{model}-{dataset}.jsonl"
    conda:
        "../../envs/analysis.yaml"
    params:
        settings={key: config["selection"][key] for key in ("pool", "splits")},
        targets=lookup("quality/targets", within=config),
        models=study.models,
        seed=config["seed"],
        code=code_digest("agreement"),
    script:
        "../scripts/agreement.py"
