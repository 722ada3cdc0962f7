"""The Celery apps and the messages they carry.

To those who train, a message is a hint, never work: "there is something in the queue for this kind of device". SQL
decides what; so a lost message costs a little time, a doubled or late one nothing. To the predictor, it is the id of a
question, whose rows lie in Redis (see `models.questions`) for as long as its client waits.

No message expires: Celery would compare the clock of the sender's host with that of the receiver's, and a worker whose
clock is fast would throw away all that it is sent.
"""

from celery import Celery
from kombu import Connection, Queue

from models.settings import settings

TRAIN = "descent.train"
QUEUES = {"cpu": "cpu", "cuda": "gpu", "mps": "mps"}
"""By the device of the worker that listens. One that names no queue listens to all of them."""

_TRANSPORT = {
    "socket_timeout": 5,
    "socket_connect_timeout": 2,
    "socket_keepalive": True,
    "health_check_interval": 5,
}

_AT_ONCE = {"socket_timeout": 1, "socket_connect_timeout": 1, "max_retries": 0}
"""For those who send: they have more to do than to wait for a broker, and come back anyway."""

PREDICT = "descent.predict"
PREDICTIONS = "predictions"


def _celery(name: str, *queues: str) -> Celery:
    celery = Celery(name, broker=settings().broker())
    celery.conf.update(
        task_acks_late=False,
        task_ignore_result=True,
        result_backend=None,
        accept_content=["json"],
        task_serializer="json",
        worker_prefetch_multiplier=1,
        # torch is imported when a process starts; on a cold disk that takes longer than Celery's four seconds.
        worker_proc_alive_timeout=120,
        worker_hijack_root_logger=False,
        worker_redirect_stdouts=False,
        worker_enable_remote_control=False,
        worker_send_task_events=False,
        broker_connection_retry_on_startup=True,
        broker_transport_options=_TRANSPORT,
        task_default_queue=queues[0],
        task_queues=[Queue(queue) for queue in queues],
        task_create_missing_queues=False,
    )
    return celery


app = _celery("descent", *QUEUES.values())

predictions = _celery("descent-predictions", PREDICTIONS)
"""An app of its own: who trains for hours must not sit on a question that waits for seconds."""


def _connection(celery: Celery) -> Connection:
    return celery.connection_for_write(transport_options=celery.conf.broker_transport_options | _AT_ONCE)


def wake(device: str, lanes: int) -> None:
    """Bring the number of wake-ups waiting for workers of a device up to `lanes`.

    Raises:
        kombu.exceptions.OperationalError: if the broker does not answer within a second.

    """
    with _connection(app) as connection:
        name = QUEUES[device]
        queue = app.amqp.queues[name].bind(connection.default_channel)
        waiting = queue.queue_declare().message_count
        for _ in range(lanes - waiting):
            app.send_task(TRAIN, queue=name, connection=connection, retry=False)


def ask(request_id: str, run_id: str) -> None:
    """Send a question to the predictor; see `models.questions`.

    Raises:
        kombu.exceptions.OperationalError: if the broker does not answer within a second.

    """
    with _connection(predictions) as connection:
        predictions.send_task(PREDICT, args=[request_id, run_id], queue=PREDICTIONS, connection=connection, retry=False)
