"""The verdict, the record of the run, and the pages that people read.

Inputs:  the final tables and figures of every model on the data sets concerned
Outputs: <results>/verdict.json, <results>/summary.parquet, <results>/run.json      of the whole study
         <results>/verdict/{dataset}.json, summary/{dataset}.parquet, run/{dataset}.json  of one data set
         <results>/report/index.html, <results>/report/{dataset}.html
         <results>/SHA256SUMS   the checksum of every result, for `make verify`; written last
         <results>/report/candidates/{model}/{dataset}.html  the explorer of the candidates
"""

SERVED = study.models if "engine" in config["evaluation"] else []  # models whose score matrices name their engine


rule run_record:
    input:
        models=expand("<resources>/models/{model}/source.json", model=study.models),
        datasets=expand("<resources>/data/{dataset}/source.json", dataset=study.datasets),
        evaluations=expand("<results>/evaluation/{model}/{dataset}.parquet", model=SERVED, dataset=study.datasets),
    output:
        run_record_out="<results>/run.json",
    log:
        "<logs>/run_record.log",
    benchmark:
        "<benchmarks>/run_record.jsonl"
    conda:
        "../../envs/models.yaml"
    params:
        settings=lambda wildcards: study.part(wildcards.get("dataset")),
        code=code_digest("run_record"),
    script:
        "../scripts/run_record.py"


use rule run_record as run_record_of_dataset with:
    input:
        models=expand("<resources>/models/{model}/source.json", model=study.models),
        datasets=["<resources>/data/{dataset}/source.json"],
        evaluations=expand("<results>/evaluation/{model}/{{dataset}}.parquet", model=SERVED),
    output:
        run_record_out="<results>/run/{dataset}.json",
    log:
        "<logs>/run_record/{dataset}.log",
    benchmark:
        "<benchmarks>/run_record/{dataset}.jsonl"


rule verdict:
    input:
        **study.final_tables(study.datasets),
    output:
        verdict_out="<results>/verdict.json",
        summary_out="<results>/summary.parquet",
    log:
        "<logs>/verdict.log",
    benchmark:
        "<benchmarks>/verdict.jsonl"
    conda:
        "../../envs/analysis.yaml"
    params:
        settings=study.verdict_settings,
        models=study.models,
        study_tables=study.study_tables,
        seed=config["seed"],
        code=code_digest("verdict"),
    script:
        "../scripts/verdict.py"


use rule verdict as verdict_of_dataset with:
    input:
        **study.final_tables(["{dataset}"]),
    output:
        verdict_out="<results>/verdict/{dataset}.json",
        summary_out="<results>/summary/{dataset}.parquet",
    log:
        "<logs>/verdict/{dataset}.log",
    benchmark:
        "<benchmarks>/verdict/{dataset}.jsonl"


rule explorer:
    input:
        **study.tables,
        candidates="<results>/samples/{dataset}/candidates.parquet",
        item_rows="<results>/samples/{dataset}/items.parquet",
        evaluation="<results>/evaluation/{model}/{dataset}.parquet",
        features="<results>/features/{model}/{dataset}.parquet",
        metrics=expand("<results>/metrics/{{model}}/{{dataset}}/{mask}.parquet", mask=study.masks),
    output:
        report(
            "<results>/report/candidates/{model}/{dataset}.html",
            caption="../report/explorer.rst",
            category="{dataset}",
            labels={"model": "{model}", "figure": "explorer of the candidates"},
        ),
    log:
        "<logs>/report/candidates-{model}-{dataset}.log",
    benchmark:
        "<benchmarks>/report/candidates-{model}-{dataset}.jsonl"
    conda:
        "../../envs/analysis.yaml"
    params:
        masks=study.masks,
        study_tables=study.study_tables,
        code=code_digest("explorer"),
    script:
        "../scripts/explorer.py"


rule page:
    input:
        **study.final_tables(["{dataset}"]),
        figures=expand("<results>/plots/{model}/{{dataset}}/{figure}.svg", figure=FIGURES, model=study.models),
        massive=expand("<results>/massive/{model}/{{dataset}}.parquet", model=study.models),
        comparison=expand(
            "<results>/plots/{{dataset}}/{figure}.svg", figure=COMPARISONS if len(study.models) > 1 else []
        ),
        explorers=expand("<results>/report/candidates/{model}/{{dataset}}.html", model=study.models),
        picks=study.picks(["{dataset}"]),
        learning=study.learning("learning", ["{dataset}"]),
        learning_summary=study.learning("learning_summary", ["{dataset}"]),
        budget=study.learning("budget", ["{dataset}"]),
        shots_summary=study.learning("shots_summary", ["{dataset}"]),
        learning_claims=study.learning("learning_claims", ["{dataset}"]),
        sae_training=study.sae_training,
        sae_screens=study.sae_screens,
        candidates="<results>/samples/{dataset}/candidates.parquet",
        run_record="<results>/run/{dataset}.json",
        verdict="<results>/verdict/{dataset}.json",
    output:
        report(
            "<results>/report/{dataset}.html",
            caption="../report/page.rst",
            category="{dataset}",
            labels={"model": "all", "figure": "page of the data set"},
        ),
    log:
        "<logs>/report/{dataset}.log",
    benchmark:
        "<benchmarks>/report/{dataset}.jsonl"
    conda:
        "../../envs/analysis.yaml"
    params:
        settings=lambda wildcards: study.part(wildcards.dataset),
        models=study.models,
        study_tables=study.study_tables,
        code=code_digest("page"),
    script:
        "../scripts/page.py"


rule index:
    input:
        **study.final_tables(study.datasets),
        pages=expand("<results>/report/{dataset}.html", dataset=study.datasets),
        explorers=expand(
            "<results>/report/candidates/{model}/{dataset}.html", dataset=study.datasets, model=study.models
        ),
        picks=study.picks(study.datasets),
        run_record="<results>/run.json",
        verdict="<results>/verdict.json",
    output:
        report(
            "<results>/report/index.html",
            caption="../report/index.rst",
            category="whole study",
            labels={"model": "all", "figure": "answer and overview"},
        ),
    log:
        "<logs>/report/index.log",
    benchmark:
        "<benchmarks>/report/index.jsonl"
    conda:
        "../../envs/analysis.yaml"
    params:
        settings=config,
        models=study.models,
        study_tables=study.study_tables,
        code=code_digest("index"),
    script:
        "../scripts/index.py"


rule manifest:
    input:
        study.ends,
    output:
        manifest_out="<results>/SHA256SUMS",
    log:
        "<logs>/manifest.log",
    benchmark:
        "<benchmarks>/manifest.jsonl"
    conda:
        "../../envs/analysis.yaml"
    params:
        code=code_digest("manifest"),
    script:
        "../scripts/manifest.py"
