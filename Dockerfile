# Hub and worker in one image: `hub …` or `worker …`.
FROM python:3.12-slim AS build
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY hub hub
COPY worker worker
COPY web web
RUN python -m venv /opt/jobcast \
 && /opt/jobcast/bin/pip install --no-cache-dir '.[examples]'

FROM python:3.12-slim
RUN useradd --system --create-home --uid 10001 jobcast
COPY --from=build /opt/jobcast /opt/jobcast
ENV PATH=/opt/jobcast/bin:$PATH PYTHONUNBUFFERED=1
WORKDIR /home/jobcast
COPY --chown=jobcast jobcast.toml ./
COPY --chown=jobcast examples examples
USER jobcast
EXPOSE 8080
ENTRYPOINT ["jobcast"]
CMD ["hub", "--host", "0.0.0.0", "--port", "8080"]
